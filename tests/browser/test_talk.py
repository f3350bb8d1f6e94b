"""Talking: two browsers and a Socket.IO client in a room, answers that stream, Stop, and what people may do with messages."""

import re
import threading
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.people import AT_LENGTH, People, until

pytestmark = pytest.mark.browser


def test_two_browsers_and_a_socketio_client_share_a_room(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia, when="mention")
    heard: list[tuple[str, dict[str, Any]]] = []
    news = threading.Event()

    def hear(name: str, data: dict[str, Any]) -> None:
        heard.append((name, data))
        news.set()

    client = sofia.socketio()
    client.on("*", hear)
    assert client.call("join", {"roomId": room_id})["ok"]
    minjun.enter(room_id)
    sofia.enter(room_id)
    try:
        minjun.write("10시 30분에 올립시다.")
        sofia.sees("10시 30분에 올립시다.")
        minjun.sees("10시 30분에 올립시다.")
        until(lambda: any(name == "message" and data["text"].startswith("10시") for name, data in heard), sofia.page)

        client.call("send", {"roomId": room_id, "text": "On it, from a script."})
        minjun.sees("On it, from a script.")

        minjun.write("@마루 지금 몇 시야?")
        lengths: dict[str, set[int]] = {"박민준": set(), "Sofia Reyes": set()}

        def ended() -> bool:
            for person in (minjun, sofia):
                running = person.page.locator(".message--streaming .message__body")
                lengths[person.name].update(map(len, running.all_text_contents()))
            is_whole = sofia.bodies.filter(has_text="낱말씩 답할게요").count() == 1
            return is_whole and not sofia.page.locator(".message--streaming").count()

        until(ended, sofia.page, 15)
        assert all(len(seen) >= 4 for seen in lengths.values()), lengths

        def final() -> dict[str, Any] | None:
            answers = (data for name, data in heard if name == "message" and data["role"] == "bot")
            return next((data for data in answers if data["status"] == "complete"), None)

        def said() -> str:
            """The client hands each packet to a thread of its own: they come in any order."""
            pieces = sorted((data for name, data in heard if name == "stream"), key=lambda piece: int(piece["n"]))
            return "".join(piece["token"] for piece in pieces)

        text = until(final, sofia.page)["text"]
        until(lambda: said() == text, sofia.page)
        expect(minjun.answer.locator(".message__foot")).to_contain_text("demo")
    finally:
        client.disconnect()


def test_stop_ends_my_answer_and_keeps_what_came(people: People) -> None:
    person = people.person()
    room_id = person.room(when="always")
    person.enter(room_id)
    person.write("길게 답해 줘" + AT_LENGTH)
    expect(person.answer.locator(".message__body")).to_contain_text("연습용")
    stop = person.page.get_by_role("button", name="답을 멈추기")
    expect(stop).to_be_visible()
    stop.click()
    expect(person.answer).to_contain_text("한지수 님이 멈춤")
    assert person.messages(room_id)[-1]["status"] == "stopped"
    expect(person.page.get_by_role("button", name="보내기")).to_be_disabled()
    person.answer.get_by_role("button", name="다시 답하기").last.click()
    expect(person.answer).to_contain_text("낱말씩 답할게요", timeout=15_000)


def test_the_composer_tells_who_will_answer(people: People) -> None:
    person = people.person()
    room_id = person.room(when="mention")
    person.enter(room_id)
    who = person.page.locator("#who-answers")
    expect(who).to_have_text("@마루로 부르면 답해요")
    person.field.fill("@마루 안녕")
    expect(who).to_have_text("보내면 마루가 답해요")
    who.click()
    panel = person.page.get_by_role("complementary", name="방 설정")
    panel.get_by_text("끄기").click()
    panel.get_by_role("button", name="저장").click()
    expect(panel).to_contain_text("저장했어요.")
    expect(who).to_have_text("마루는 쉬는 중이에요")


def test_reply_edit_and_delete(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    sofia.say(room_id, "First token went down.")
    minjun.enter(room_id)
    sofia.enter(room_id)
    message = minjun.page.locator(".message", has_text="First token")
    message.hover()
    message.get_by_role("button", name="답장").click()
    expect(minjun.page.locator("#composer-about")).to_contain_text("Sofia Reyes 님에게 답장")
    minjun.write("좋네요")
    expect(sofia.page.locator(".message", has_text="좋네요").locator(".quote")).to_contain_text("First token")

    minjun.field.press("ArrowUp")
    expect(minjun.field).to_have_value("좋네요")
    minjun.write("아주 좋네요")
    expect(sofia.page.locator(".message", has_text="아주 좋네요")).to_contain_text("고침")

    mine = minjun.page.locator(".message", has_text="아주 좋네요")
    mine.hover()
    mine.get_by_role("button", name="지우기").click()
    minjun.page.get_by_role("dialog").get_by_role("button", name="지우기").click()
    sofia.sees("삭제한 메시지예요.")
    expect(sofia.page.get_by_text("아주 좋네요")).to_have_count(0)


def test_unread_rooms_stand_out_until_they_are_read(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    quiet, loud = minjun.room(sofia, name="조용한 방"), minjun.room(sofia, name="바쁜 방")
    sofia.enter(quiet)
    for text in ("하나", "둘", "셋 @Sofia Reyes"):
        minjun.say(loud, text)
    link = sofia.page.get_by_role("link", name="바쁜 방")
    expect(link.locator(".room__count--you")).to_have_text("@ 3")
    link.click()
    sofia.sees("셋")
    expect(sofia.page.locator(".fresh")).to_have_text("새 메시지 3개")
    expect(sofia.page.locator(".mention--you")).to_have_text("@Sofia Reyes")
    until(lambda: next(r for r in sofia.api("GET", "/rooms")["items"] if r["id"] == loud)["readSeq"] == 3, sofia.page)


def test_a_new_chat_opens_at_once_and_gets_its_name(people: People) -> None:
    person = people.person().open()
    person.connected()
    person.page.keyboard.press("Alt+n")
    expect(person.page).to_have_url(re.compile("/r/"))
    expect(person.page.get_by_text("아직 아무 말도 없어요")).to_be_visible()
    expect(person.field).to_be_focused()
    person.write("제주 여행 일정")
    expect(person.page.locator("#room-name")).to_contain_text("제주", timeout=15_000)


def test_people_are_invited_and_rooms_are_left_from_the_panel(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person(f"Sofia {id(people)}")
    room_id = minjun.room(name="초대할 방")
    sofia.open()
    minjun.enter(room_id)
    minjun.page.get_by_role("button", name="초대하기", exact=True).click()
    panel = minjun.page.get_by_role("complementary", name="방 설정")
    panel.get_by_label("이름이나 이메일").fill(sofia.name)
    panel.get_by_role("button", name="초대", exact=True).click()
    expect(panel).to_contain_text("이미 있음")
    sofia.page.get_by_role("link", name="초대할 방").click()
    panel.get_by_role("button", name="초대 링크 만들기").click()
    expect(panel.get_by_label("링크로 부르기")).to_have_value(re.compile("/i/"))
    panel.get_by_text("방", exact=True).click()
    panel.get_by_label("방 이름").fill("새 이름")
    panel.get_by_role("button", name="저장").click()
    expect(sofia.page.locator("#room-name")).to_have_text("새 이름")
    panel.get_by_role("button", name="방 지우기").click()
    minjun.page.get_by_role("dialog").get_by_role("button", name="방 지우기").click()
    expect(sofia.page.get_by_role("link", name="새 이름")).to_have_count(0)
    expect(minjun.page.locator("#foot")).to_be_hidden()
    expect(minjun.page.locator("#toast")).to_have_text("방이 지워졌어요.")


def test_the_keyboard_reaches_every_message(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    sofia.say(room_id, "하나")
    sofia.say(room_id, "둘")
    minjun.enter(room_id)
    minjun.sees("둘")
    minjun.page.locator("#log").focus()
    minjun.page.keyboard.press("k")
    minjun.page.keyboard.press("k")
    focused = minjun.page.locator(".message:focus")
    expect(focused).to_contain_text("하나")
    expect(focused.get_by_role("toolbar")).to_be_visible()
    minjun.page.keyboard.press("r")
    expect(minjun.field).to_be_focused()
    expect(minjun.page.locator("#composer-about")).to_contain_text("Sofia Reyes 님에게 답장")
    minjun.page.keyboard.press("Escape")
    expect(minjun.page.locator("#composer-about")).to_be_hidden()


def test_answers_are_spoken_in_sentences_and_others_are_seen_typing(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia, when="mention")
    minjun.enter(room_id)
    sofia.enter(room_id)
    sofia.field.press_sequentially("음")
    expect(minjun.page.locator("#typing")).to_have_text("Sofia Reyes 님이 쓰고 있어요")
    minjun.page.evaluate(
        """() => { window.spoken = []; const region = document.getElementById("spoken");
        new MutationObserver(() => window.spoken.push(region.textContent)).observe(region, { childList: true }); }"""
    )
    minjun.write("@마루 안녕")
    expect(minjun.answer).to_contain_text("낱말씩 답할게요", timeout=15_000)
    expect(minjun.page.locator("#spoken")).to_contain_text("낱말씩 답할게요.")
    spoken = minjun.page.evaluate("window.spoken")
    assert 2 <= len(spoken) <= 10
    assert "저는 인터넷 없이 도는 연습용 모델이에요." in " ".join(spoken)
    assert not any("OPENAI" in text for text in spoken)
