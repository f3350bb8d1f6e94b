"""Losing the network or the server, and coming back without losing or doubling anything."""

import pytest
from playwright.sync_api import expect

from tests.browser.people import People, Person, until

pytestmark = pytest.mark.browser


def texts(person: Person, room_id: str) -> list[str]:
    return [message["text"] for message in person.messages(room_id) if message["role"] == "user"]


def test_after_a_killed_server_everything_is_there_and_the_page_came_back(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia, when="mention")
    minjun.enter(room_id)
    sofia.enter(room_id)
    minjun.write("첫마디")
    sofia.sees("첫마디")
    minjun.write("@마루 길게 답해 줘")
    expect(sofia.answer.locator(".message__body")).to_contain_text("연습용")
    joins: list[str] = []
    sofia.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: joins.append(str(frame))))
    sofia.page.evaluate("window.isTheSamePage = true")

    people.site.kill()
    expect(sofia.page.locator("html:not([data-net=open])")).to_be_attached()
    minjun.write("서버가 없을 때 쓴 말")
    expect(minjun.page.locator(".message--pending")).to_contain_text("보내는 중")
    expect(minjun.page.locator("#notice")).to_contain_text("메시지 1개는 연결되면 보낼게요")
    people.site.start()
    minjun.connected(20)
    sofia.connected(20)

    sofia.sees("서버가 없을 때 쓴 말")
    expect(sofia.answer).to_contain_text("낱말씩 답할게요", timeout=20_000)
    expect(sofia.page.locator("#messages .message--streaming")).to_have_count(0)
    assert sofia.page.evaluate("window.isTheSamePage")
    assert any('"join"' in frame and '"after":' in frame for frame in joins)
    assert texts(sofia, room_id) == ["첫마디", "@마루 길게 답해 줘", "서버가 없을 때 쓴 말"]
    expect(minjun.page.locator(".message--pending")).to_have_count(0)
    expect(minjun.page.locator("#notice")).to_be_hidden()
    until(lambda: minjun.bodies.all_text_contents() == sofia.bodies.all_text_contents(), minjun.page)


def test_a_send_without_network_goes_out_once(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    minjun.enter(room_id)
    sofia.enter(room_id)
    minjun.cut_off()
    minjun.write("지하철에서 쓴 말")
    minjun.write("또 한마디")
    expect(minjun.page.locator(".message--pending")).to_have_count(2)
    expect(minjun.page.locator("#notice")).to_contain_text("메시지 2개는 연결되면 보낼게요")
    sofia.write("그동안 온 말")
    sofia.sees("그동안 온 말")
    minjun.context.set_offline(False)
    minjun.connected()
    expect(minjun.page.locator(".message--pending")).to_have_count(0)
    minjun.sees("그동안 온 말")
    sofia.sees("또 한마디")
    assert texts(sofia, room_id) == ["그동안 온 말", "지하철에서 쓴 말", "또 한마디"]


def test_a_lost_reply_does_not_double_the_message(people: People) -> None:
    """The server has committed, the reply never came: the same clientId goes out again."""
    person = people.person()
    room_id = person.room()
    dropped: list[str] = []

    def between(socket) -> None:  # type: ignore[no-untyped-def]
        server = socket.connect_to_server()

        def from_page(frame: str) -> None:
            if '"send"' in frame and not dropped:
                dropped.append(frame)
                server.send(frame)
                until(lambda: texts(person, room_id), person.page)
                socket.close(code=4000, reason="lost")
            else:
                server.send(frame)

        socket.on_message(from_page)
        server.on_message(lambda frame: None if dropped and not socket_is_second() else socket.send(frame))
        opened.append(socket)

    opened: list[object] = []

    def socket_is_second() -> bool:
        return len(opened) > 1

    person.page.route_web_socket("**/ws", between)
    person.enter(room_id)
    person.write("한 번만")
    until(socket_is_second, person.page)
    expect(person.page.locator(".message--pending")).to_have_count(0)
    expect(person.bodies).to_have_text(["한 번만"])
    assert texts(person, room_id) == ["한 번만"]


def test_a_refused_send_says_why_and_can_be_sent_again(people: People) -> None:
    owner, guest = people.person("박민준"), people.person("이서연")
    room_id = owner.room(guest)
    guest.enter(room_id)
    guest.page.evaluate("document.documentElement.dataset.net")
    guest.context.set_offline(True)
    guest.write("쓸 수 있을 때 쓴 말")
    expect(guest.page.locator(".message--pending")).to_have_count(1)
    owner.api("PATCH", f"/rooms/{room_id}/members/{guest.id}", {"role": "reader"})
    guest.context.set_offline(False)
    failed = guest.page.locator(".message--failed")
    expect(failed).to_contain_text("못 보냈어요")
    expect(failed).to_contain_text("읽기만 할 수 있어요")
    expect(guest.field).to_have_attribute("placeholder", "읽기만 할 수 있어요")
    owner.api("PATCH", f"/rooms/{room_id}/members/{guest.id}", {"role": "member"})
    expect(guest.field).to_be_editable()
    failed.get_by_role("button", name="다시 보내기").click()
    expect(failed).to_have_count(0)
    until(lambda: texts(owner, room_id) == ["쓸 수 있을 때 쓴 말"], guest.page)


def test_a_session_ended_elsewhere_leads_to_the_door(people: People) -> None:
    person = people.person()
    person.enter(person.room())
    sessions = person.api("GET", "/users/me/sessions")["items"]
    person.api("DELETE", f"/users/me/sessions/{sessions[0]['id']}")
    person.page.wait_for_url("**/login?next=**")
