"""Hangul in the composer: a real composition through the browser's own input method, and other browsers' orders."""

import pytest
from playwright.sync_api import CDPSession, expect

from tests.browser.people import People, Person, until

pytestmark = pytest.mark.browser

# Each step in the task that a browser would give it; the field changes as its composition does.
PLAY = """async (steps) => {
  const field = document.getElementById("text");
  field.focus();
  for (const [type, fields, value] of steps) {
    if (value !== undefined) {
      field.value = value;
      field.dispatchEvent(new InputEvent("input", { bubbles: true, isComposing: type === "compositionupdate" }));
    }
    const { keyCode, ...rest } = fields;
    const make = type.startsWith("composition") ? CompositionEvent : KeyboardEvent;
    const event = new make(type, { bubbles: true, cancelable: true, ...rest });
    if (keyCode) Object.defineProperty(event, "keyCode", { value: keyCode });
    field.dispatchEvent(event);
    if (fields.pause) await new Promise((done) => setTimeout(done));
  }
}"""
ENTER = {"key": "Enter", "code": "Enter", "keyCode": 13}
CHROMIUM = [
    ["compositionstart", {}],
    ["compositionupdate", {"data": "하"}, "안녕하"],
    ["keydown", {"key": "Process", "code": "Enter", "keyCode": 229, "isComposing": True}],
    ["compositionend", {"data": "하"}],
    ["keydown", ENTER],
    ["keyup", ENTER],
]
SAFARI = [
    ["compositionstart", {}],
    ["compositionupdate", {"data": "하"}, "안녕하"],
    ["compositionend", {"data": "하"}],
    ["keydown", {"key": "Enter", "code": "Enter", "keyCode": 229}],
    ["keyup", ENTER],
]
FIREFOX = [
    ["compositionstart", {}],
    ["compositionupdate", {"data": "하"}, "안녕하"],
    ["keydown", {"key": "Process", "code": "Enter", "keyCode": 229, "isComposing": True, "pause": True}],
    ["compositionend", {"data": "하", "pause": True}],
    ["keyup", ENTER],
]


def typing(person: Person) -> CDPSession:
    person.field.focus()
    return person.context.new_cdp_session(person.page)


def compose(session: CDPSession, *steps: str) -> None:
    for text in steps:
        session.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})


def press_enter(session: CDPSession, code: int, kind: str = "rawKeyDown") -> None:
    session.send(
        "Input.dispatchKeyEvent", {"type": kind, "windowsVirtualKeyCode": code, "key": "Enter", "code": "Enter"}
    )


def user_texts(person: Person, room_id: str) -> list[str]:
    return [message["text"] for message in person.messages(room_id)]


def sent_once(person: Person, room_id: str, text: str) -> None:
    """One message, now and after another one has followed it."""
    until(lambda: user_texts(person, room_id), person.page)
    expect(person.field).to_have_value("")
    person.write("그다음")
    until(lambda: "그다음" in user_texts(person, room_id), person.page)
    assert user_texts(person, room_id) == [text, "그다음"]


def test_enter_in_an_open_syllable_sends_exactly_one_message(people: People) -> None:
    person = people.person()
    room_id = person.room()
    person.enter(room_id)
    session = typing(person)
    compose(session, "ㅎ", "하", "한")
    session.send("Input.insertText", {"text": "한"})
    compose(session, "ㄱ", "그", "글")
    press_enter(session, 229)
    session.send("Input.insertText", {"text": "글"})
    press_enter(session, 13)
    press_enter(session, 13, "keyUp")
    sent_once(person, room_id, "한글")


def test_the_field_is_left_alone_while_a_syllable_is_open(people: People) -> None:
    person = people.person()
    room_id = person.room()
    person.enter(room_id)
    session = typing(person)
    compose(session, "ㅎ", "하", "한")
    other = people.person("박민준")
    person.api("POST", f"/rooms/{room_id}/members", {"userId": other.id})
    other.say(room_id, "끼어든 말")
    person.sees("끼어든 말")
    expect(person.field).to_have_value("한")
    compose(session, "하", "한")
    session.send("Input.insertText", {"text": "한"})
    expect(person.field).to_have_value("한")


def test_the_button_sends_the_open_syllable_too(people: People) -> None:
    person = people.person()
    room_id = person.room()
    person.enter(room_id)
    session = typing(person)
    compose(session, "ㄴ", "네")
    person.page.get_by_role("button", name="보내기").click()
    sent_once(person, room_id, "네")


def test_each_browsers_order_of_events_sends_once(people: People) -> None:
    person = people.person()
    for order in (CHROMIUM, SAFARI, FIREFOX):
        room_id = person.room()
        person.enter(room_id)
        person.page.evaluate(PLAY, order)
        sent_once(person, room_id, "안녕하")


def test_japanese_is_only_committed(people: People) -> None:
    person = people.person()
    for order in (CHROMIUM[:4], SAFARI, FIREFOX):
        room_id = person.room()
        person.enter(room_id)
        steps = [[step[0], {**step[1], **({"data": "かな"} if "data" in step[1] else {})}, *step[2:]] for step in order]
        person.page.evaluate(PLAY, steps)
        expect(person.field).to_have_value("안녕하")
        person.field.press("Enter")
        until(lambda room_id=room_id: user_texts(person, room_id), person.page)
        assert user_texts(person, room_id) == ["안녕하"]


def test_drafts_are_kept_per_room_and_long_texts_are_counted(people: People) -> None:
    person = people.person()
    first, second = person.room(name="첫 방"), person.room(name="둘째 방")
    person.enter(first)
    person.field.fill("쓰다 만 말")
    person.page.get_by_role("link", name="둘째 방").click()
    expect(person.field).to_have_value("")
    person.field.fill("😀" * 20_001)
    expect(person.page.locator("#count")).to_have_text("20,001 / 20,000")
    expect(person.page.get_by_role("button", name="보내기")).to_be_disabled()
    person.field.fill("😀" * 20_000)
    expect(person.page.get_by_role("button", name="보내기")).to_be_enabled()
    person.page.get_by_role("link", name="첫 방").click()
    expect(person.field).to_have_value("쓰다 만 말")
    assert user_texts(person, second) == []
