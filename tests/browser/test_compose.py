"""Writing: mentions with completion, quotes, drafts and sends that survive a reload, who has read, notifications."""

import pytest
from playwright.sync_api import expect

from tests.browser.people import People, Person, until
from tests.browser.test_hangul import compose, typing

pytestmark = pytest.mark.browser

# What the page tells the system; headless browsers show nothing.
HEARD = """window.told = [];
window.Notification = class { constructor(title, options) { Object.assign(this, options); window.told.push({title, ...options}); }
  static permission = "granted"; static async requestPermission() { return "granted"; } close() {} };"""
AWAY = """Object.defineProperty(document, "hasFocus", { value: () => false, configurable: true }); dispatchEvent(new Event("blur"));"""
BACK = """Object.defineProperty(document, "hasFocus", { value: () => true }); dispatchEvent(new Event("focus"));"""

# How many sends and drafts this browser keeps.
KEPT = """new Promise((resolve) => {
    const asked = indexedDB.open("maru");
    asked.onsuccess = () => {
        const turn = asked.result.transaction(["sends", "drafts"]);
        const rows = ["sends", "drafts"].map((name) => turn.objectStore(name).getAll());
        turn.oncomplete = () => resolve(rows.flatMap(({ result }) => result.map(({ text }) => text)).sort());
    };
})"""


def texts(person: Person, room_id: str) -> list[str]:
    return [message["text"] for message in person.messages(room_id) if message["role"] == "user"]


def test_a_name_is_completed_by_enter_tab_and_click(people: People) -> None:
    minjun, jisu, sofia = people.person("박민준"), people.person("한지수"), people.person("Sofia Reyes")
    room_id = minjun.room(jisu, sofia, when="mention")
    minjun.enter(room_id)
    page, names = (
        minjun.page,
        minjun.page.get_by_role("listbox", name="부를 사람").locator("[role=option] > span:last-child"),
    )
    minjun.field.press_sequentially("안녕 @")
    expect(names).to_have_text(["마루", "한지수", "Sofia Reyes"])
    expect(minjun.field).to_have_attribute("aria-activedescendant", "mention-0")
    minjun.field.press("ArrowDown")
    minjun.field.press("ArrowDown")
    minjun.field.press("Enter")
    expect(minjun.field).to_have_value("안녕 @Sofia Reyes ")
    minjun.field.press_sequentially("@so")
    minjun.field.press("Escape")
    expect(names).to_have_count(0)
    minjun.field.press_sequentially("f")
    expect(names).to_have_count(0)
    minjun.field.fill("")
    minjun.field.press_sequentially("@마")
    minjun.field.press("Tab")
    expect(minjun.field).to_have_value("@마루 ")
    minjun.field.press_sequentially("@")
    names.filter(has_text="한지수").click()
    expect(minjun.field).to_have_value("@마루 @한지수 ")
    expect(minjun.field).to_be_focused()
    minjun.field.press("Enter")
    minjun.sees("@마루 @한지수")
    expect(page.locator("#messages .mention")).to_have_text(["@마루", "@한지수"])
    jisu.enter(room_id)
    expect(jisu.page.locator("#messages .mention--you").first).to_have_text("@한지수")


def test_names_are_found_while_a_syllable_is_open_and_enter_still_sends_once(people: People) -> None:
    minjun, jisu = people.person("박민준"), people.person("한지수")
    room_id = minjun.room(jisu)
    minjun.enter(room_id)
    names = minjun.page.get_by_role("listbox", name="부를 사람").locator("[role=option] > span:last-child")
    session = typing(minjun)
    minjun.field.press_sequentially("@")
    compose(session, "ㅎ", "하", "한")
    expect(names).to_have_text(["한지수"])
    # Tab waits for the end of the syllable, and nothing is lost or written twice.
    session.send(
        "Input.dispatchKeyEvent", {"type": "rawKeyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 229}
    )
    session.send("Input.insertText", {"text": "한"})
    expect(minjun.field).to_have_value("@한지수 ")
    minjun.field.fill("")
    minjun.field.press_sequentially("@")
    compose(session, "ㅎ", "하")
    expect(names).to_have_text(["한지수"])
    session.send(
        "Input.dispatchKeyEvent",
        {"type": "rawKeyDown", "key": "Process", "code": "Enter", "windowsVirtualKeyCode": 229},
    )
    session.send("Input.insertText", {"text": "하"})
    until(lambda: texts(minjun, room_id) == ["@하"], minjun.page)
    expect(minjun.field).to_have_value("")


def test_what_somebody_said_is_quoted_before_ones_own_words(people: People) -> None:
    minjun, jisu = people.person("박민준"), people.person("한지수")
    room_id = minjun.room(jisu)
    jisu.say(room_id, "첫 줄\n둘째 줄")
    minjun.enter(room_id)
    minjun.field.fill("쓰던 말")
    minjun.bodies.first.hover()
    minjun.page.get_by_role("toolbar").get_by_role("button", name="인용").click()
    expect(minjun.field).to_have_value("쓰던 말\n\n> 첫 줄\n> 둘째 줄\n\n")
    expect(minjun.field).to_be_focused()


def test_a_draft_is_there_after_a_reload_and_each_room_has_its_own(people: People) -> None:
    person = people.person()
    one = person.room(name="하나")
    person.room(name="둘")
    person.enter(one)
    person.field.press_sequentially("쓰다 만 말")
    person.page.get_by_role("link", name="둘").click()
    expect(person.field).to_have_value("")
    person.field.press_sequentially("다른 말")
    until(lambda: person.page.evaluate(KEPT) == ["다른 말", "쓰다 만 말"], person.page)
    person.page.reload()
    expect(person.field).to_have_value("다른 말")
    person.page.get_by_role("link", name="하나").click()
    expect(person.field).to_have_value("쓰다 만 말")
    person.field.press("Enter")
    until(lambda: person.page.evaluate(KEPT) == ["다른 말"], person.page)
    person.page.reload()
    person.connected()
    expect(person.field).to_have_value("")


def test_sends_without_network_survive_the_page_and_go_out_once(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    sofia.enter(room_id)
    minjun.enter(room_id)
    minjun.cut_off()
    for text in ("하나", "둘", "셋"):
        minjun.write(text)
    expect(minjun.page.locator(".message--pending")).to_have_count(3)
    minjun.page.close()
    minjun.context.set_offline(False)
    # Two windows at once bring the same sends.
    others = [minjun.context.new_page() for _ in range(2)]
    for page in others:
        page.goto(minjun.site.url + f"/r/{room_id}")
    for page in others:
        expect(page.locator("#messages .message__body")).to_have_text(["하나", "둘", "셋"])
        expect(page.locator(".message--pending")).to_have_count(0)
    sofia.sees("셋")
    assert texts(sofia, room_id) == ["하나", "둘", "셋"]
    others[0].reload()
    expect(others[0].locator("#messages .message__body")).to_have_text(["하나", "둘", "셋"])
    assert texts(sofia, room_id) == ["하나", "둘", "셋"]


def test_signing_out_with_unsent_words_asks_first_and_leaves_nothing_behind(people: People) -> None:
    person = people.person()
    room_id = person.room()

    def never_sends(socket) -> None:  # type: ignore[no-untyped-def]
        server = socket.connect_to_server()
        socket.on_message(lambda frame: None if '"send"' in frame else server.send(frame))

    person.page.route_web_socket("**/ws", never_sends)
    person.enter(room_id)
    person.write("못 보낸 말")
    expect(person.page.locator(".message--pending")).to_have_count(1)
    leave, ask = person.page.get_by_role("button", name="나가기"), person.page.get_by_role("dialog")
    leave.first.click()
    expect(ask).to_contain_text("아직 보내지 못한 메시지 1개가 있어요")
    ask.get_by_role("button", name="그만두기").click()
    expect(ask).to_have_count(0)
    expect(person.page.locator(".message--pending")).to_have_count(1)
    assert len(person.page.evaluate(KEPT)) == 1
    leave.first.click()
    person.field.evaluate("(field) => { field.value = '초안'; field.dispatchEvent(new InputEvent('input')); }")
    ask.get_by_role("button", name="나가기").click()
    person.page.wait_for_url("**/login")
    assert person.page.evaluate(KEPT) == []


def test_who_has_read_is_shown_under_the_last_read_message(people: People) -> None:
    minjun, jisu = people.person("박민준"), people.person("한지수")
    room_id = minjun.room(jisu)
    minjun.enter(room_id)
    minjun.write("첫 말")
    minjun.sees("첫 말")
    expect(minjun.page.locator(".readers")).to_have_count(0)
    jisu.enter(room_id)
    readers = minjun.page.get_by_role("img", name="한지수 님이 읽음")
    expect(readers).to_have_count(1)
    expect(minjun.page.locator("#messages > li").last.locator(".readers")).to_have_count(1)
    jisu.page.evaluate(AWAY)
    minjun.write("아직 안 읽은 말")
    minjun.sees("아직 안 읽은 말")
    expect(minjun.page.locator("#messages > li").nth(-2).locator(".readers")).to_have_count(1)
    jisu.page.evaluate(BACK)
    expect(minjun.page.locator("#messages > li").last.locator(".readers")).to_have_count(1)
    expect(readers).to_have_count(1)


def test_who_is_not_looking_is_told_if_he_asked_for_it(people: People) -> None:
    minjun, jisu = people.person("박민준"), people.person("한지수")
    here, other = minjun.room(jisu, name="여기"), minjun.room(jisu, name="저기")
    jisu.page.add_init_script(HEARD)
    jisu.enter(here)
    bell = jisu.page.get_by_role("button", name="알림")
    expect(bell).to_have_attribute("aria-pressed", "false")
    jisu.page.evaluate(AWAY)
    minjun.say(here, "아무도 안 알림")
    jisu.sees("아무도 안 알림")
    assert jisu.page.evaluate("window.told") == []
    jisu.page.evaluate(BACK)
    bell.click()
    expect(bell).to_have_attribute("aria-pressed", "true")
    minjun.say(here, "보고 있을 때")
    jisu.sees("보고 있을 때")
    assert jisu.page.evaluate("window.told") == []
    jisu.page.evaluate(AWAY)
    minjun.say(here, "안 볼 때")
    told = until(lambda: jisu.page.evaluate("window.told"), jisu.page)
    assert [(one["title"], one["body"]) for one in told] == [("박민준 · 여기", "안 볼 때")]
    expect(jisu.page).to_have_title("(1) 여기 · 마루")
    minjun.say(other, "다른 방에서")
    told = until(lambda: jisu.page.evaluate("window.told.slice(1)"), jisu.page)
    assert [(one["title"], one["body"]) for one in told] == [("저기", "새 메시지 1개")]
    jisu.page.reload()
    expect(bell).to_have_attribute("aria-pressed", "true")


def test_an_owner_tries_a_bots_settings_before_saving_them(people: People) -> None:
    person = people.person()
    room_id = person.room(when="always")
    person.enter(room_id)
    person.page.get_by_role("button", name="방 설정").click()
    person.page.get_by_role("radio", name="봇").check(force=True)
    panel = person.page.get_by_role("complementary", name="방 설정")
    panel.get_by_label("답의 자유로움").fill("0.3")
    panel.get_by_label("예전 대화 찾아보기").uncheck()
    panel.get_by_label("물어볼 말").fill("어떻게 답할 거예요?")
    panel.get_by_role("button", name="물어보기").click()
    expect(panel.locator(".preview")).to_contain_text("나에게만 보여요")
    expect(panel.locator(".preview")).to_contain_text("연습용")
    assert person.messages(room_id) == []
    panel.get_by_role("button", name="저장").click()
    expect(panel).to_contain_text("저장했어요")
    bot = person.api("GET", f"/rooms/{room_id}")["bot"]
    assert (bot["temperature"], bot["retrieval"]) == (0.3, False)
