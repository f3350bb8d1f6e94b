"""Finding messages from the list of rooms, and looking at what the model was given."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.people import People, until

pytestmark = pytest.mark.browser


def test_messages_are_found_while_one_types_and_open_at_their_place(people: People) -> None:
    minjun = people.person("박민준")
    room_id, other = minjun.room(name="배포"), minjun.room(name="점심")
    minjun.say(room_id, "한국은행 점검 때문에 결제가 막혀요")
    for number in range(60):
        minjun.say(room_id, f"딴 얘기 {number}")
    minjun.say(other, "<img src=x onerror=alert(1)> 김밥 어때")
    minjun.enter(other)
    page = minjun.page
    page.keyboard.press("Control+k")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.insert_text("한구")
    hit = page.locator("#found a.hit")
    expect(hit).to_have_count(1)
    expect(hit.locator("mark")).to_have_text("한국")
    expect(hit).to_contain_text("배포")
    page.keyboard.press("ArrowDown")
    expect(hit).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/r/{room_id}"))
    found = page.locator(".message", has_text="한국은행 점검")
    expect(found).to_be_in_viewport()

    page.locator("#find").fill("img src")
    expect(hit.locator("mark").first).to_be_visible()
    expect(hit).to_contain_text("<img src=x onerror=alert(1)>")
    page.locator("#find").fill("점심")
    expect(page.locator("#rooms a.room")).to_have_count(1)
    page.locator("#find").fill("없는말이에요")
    expect(page.locator("#found")).to_contain_text("찾는 말이 든 메시지가 없어요")
    page.locator("#find").press("Escape")
    expect(page.locator("#found")).to_be_empty()
    expect(page.locator("#rooms a.room")).to_have_count(2)


def test_more_hits_come_on_demand_and_a_phone_has_room_for_them(people: People) -> None:
    sofia = people.person("Sofia Reyes", locale="en-US", phone=True)
    room_id = sofia.room(name="Notes")
    for number in range(30):
        sofia.say(room_id, f"needle {number} " + "long " * 60)
    sofia.open("/")
    sofia.connected()
    sofia.page.locator("#find").fill("needle")
    hits = sofia.page.locator("#found a.hit")
    expect(hits).to_have_count(20)
    assert sofia.width_over() <= 0
    sofia.page.get_by_role("button", name="More").click()
    expect(hits).to_have_count(30)
    hits.first.click()
    expect(sofia.page.locator(".app")).to_have_attribute("data-view", "room")


def test_what_the_model_was_given_can_be_seen_by_members_only(people: People) -> None:
    minjun, eve = people.person("박민준"), people.person("Eve")
    room_id = minjun.room(when="always", name="기록")
    minjun.enter(room_id)
    minjun.write("첫 질문 <b>굵게</b>")
    expect(minjun.answer.locator(".message__foot")).to_contain_text("demo", timeout=15_000)
    minjun.answer.hover()
    with minjun.context.expect_page() as opened:
        minjun.page.get_by_role("button", name="모델이 받은 것").click()
    given = opened.value
    expect(given.locator("h1")).to_have_text("모델이 받은 것")
    expect(given.locator("pre").last).to_have_text("박민준: 첫 질문 <b>굵게</b>")
    address = given.url
    given.get_by_role("link", name="대화로 돌아가기").click()
    expect(given).to_have_url(re.compile(f"/r/{room_id}"))
    answer = eve.page.goto(address)
    assert answer is not None and answer.status == 404
    expect(eve.page.locator("main")).to_contain_text(re.compile("볼 수 없는 답"))
    until(lambda: eve.page.locator("pre").count() == 0, eve.page)
    assert eve.page.goto(eve.site.url + "/m/none").status == 404  # type: ignore[union-attr]
