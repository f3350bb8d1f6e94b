"""Reading back: pages of history, the place that is kept, the DOM that stays small, jumps."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from tests.browser.people import AT_LENGTH, People, Person, until

pytestmark = pytest.mark.browser

PLACE = """() => {
  const log = document.getElementById("log");
  const top = log.getBoundingClientRect().top;
  const first = [...document.querySelectorAll("#messages .message")].find((node) => node.getBoundingClientRect().bottom > top + 1);
  return [first.id, first.getBoundingClientRect().top - top];
}"""
COUNT = "document.querySelectorAll('#messages .message').length"


def is_at(person: Person, place: tuple[str, float]) -> bool:
    """Scrolling knows whole pixels, layout parts of them."""
    message, top = person.page.evaluate(PLACE)
    return bool(message == place[0] and abs(top - place[1]) < 2)


def filled(person: Person, count: int) -> str:
    room_id = person.room(name="긴 방")
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda n: person.say(room_id, f"글 {n}\n\n{'둘째 줄 ' * (n % 5)}"), range(count)))
    return room_id


def scroll(person: Person, to: int) -> None:
    person.page.evaluate("(to) => { document.getElementById('log').scrollTop = to; }", to)


def test_history_loads_upwards_and_the_place_is_kept(people: People) -> None:
    person = people.person()
    room_id = filled(person, 300)
    person.enter(room_id)
    page = person.page
    expect(page.locator("#messages .message").first).to_be_attached()
    until(lambda: page.evaluate(COUNT) >= 50, page)
    ids = [message["id"] for message in reversed(all_messages(person, room_id))]
    expect(page.locator(f"#m-{ids[0]}")).to_be_in_viewport()
    for _ in range(20):
        if page.locator(f"#m-{ids[-1]}").count():
            break
        before = page.evaluate(COUNT)
        scroll(person, 500)
        place = page.evaluate(PLACE)
        until(lambda n=before: page.evaluate(COUNT) > n or page.locator(f"#m-{ids[-1]}").count(), page)
        assert is_at(person, place)
    scroll(person, 0)
    expect(page.locator(f"#m-{ids[-1]}")).to_be_in_viewport()
    person.say(room_id, "아래에 온 말")
    newer = page.locator("#newer")
    expect(newer).to_have_text("새 메시지 1개")
    expect(page.locator(f"#m-{ids[-1]}")).to_be_in_viewport()
    newer.click()
    expect(page.get_by_text("아래에 온 말")).to_be_in_viewport()
    expect(newer).to_be_hidden()


def all_messages(person: Person, room_id: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    before = ""
    while True:
        page = person.api("GET", f"/rooms/{room_id}/messages?limit=200{before}")
        found = page["messages"] + found
        if not page["moreBefore"]:
            return found
        before = f"&before={page['messages'][0]['seq']}"


def test_the_dom_stays_small_in_a_long_room(people: People) -> None:
    person = people.person()
    room_id = filled(person, 560)
    person.enter(room_id)
    page = person.page
    first = f"#m-{all_messages(person, room_id)[0]['id']}"
    until(lambda: scroll(person, 0) or page.locator(first).count(), page, 20)
    assert page.evaluate(COUNT) <= 450
    expect(page.locator("#newer")).to_be_visible()
    page.locator("#newer").click()
    until(lambda: page.evaluate(COUNT) <= 400, page)


def test_an_address_with_a_number_jumps_to_the_message(people: People) -> None:
    person = people.person()
    room_id = filled(person, 150)
    target = next(message for message in all_messages(person, room_id) if message["seq"] == 20)
    person.open(f"/r/{room_id}#20")
    expect(person.page.locator(f"#m-{target['id']}")).to_be_in_viewport()
    expect(person.page.locator(f"#m-{target['id']}")).to_be_focused()
    person.page.locator("#newer").click()
    newest = all_messages(person, room_id)[-1]
    expect(person.page.locator(f"#m-{newest['id']}")).to_be_in_viewport()


def test_a_reader_further_up_is_not_pulled_down_by_an_answer(people: People) -> None:
    person, other = people.person(), people.person("박민준")
    room_id = filled(person, 60)
    person.api("POST", f"/rooms/{room_id}/members", {"userId": other.id})
    person.api("PATCH", f"/rooms/{room_id}", {"bot": {"when": "always"}})
    person.enter(room_id)
    until(lambda: person.page.evaluate(COUNT) >= 50, person.page)
    scroll(person, 1500)
    place = person.page.evaluate(PLACE)
    other.say(room_id, "답해 줘" + AT_LENGTH)
    expect(person.page.locator(".message--streaming")).to_have_count(1)
    expect(person.page.locator(".message--streaming")).to_have_count(0, timeout=15_000)
    assert is_at(person, place)
