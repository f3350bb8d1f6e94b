"""The room's settings: roles, removing people, invite links, what was said as a file."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.people import People, Person, until

pytestmark = pytest.mark.browser


def panel(person: Person, part: str = "사람") -> Locator:
    found = person.page.get_by_role("complementary", name="방 설정")
    if not found.is_visible():
        person.page.get_by_role("button", name="방 설정").click()
    found.get_by_role("radio", name=part, exact=True).check(force=True)
    return found


def role_of(person: Person, room_id: str, other: Person) -> str | None:
    members = person.api("GET", f"/rooms/{room_id}/members")["items"]
    return next((member["role"] for member in members if member["userId"] == other.id), None)


def test_an_owner_gives_roles_and_they_are_in_force_at_once(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    sofia.enter(room_id)
    theirs = panel(sofia)
    expect(theirs.get_by_role("combobox")).to_have_count(0)
    ours = panel(minjun.enter(room_id))
    role = ours.get_by_label("Sofia Reyes의 역할")
    role.select_option("읽기만")
    expect(ours).to_contain_text("Sofia Reyes: 이제 읽기만")
    expect(sofia.field).not_to_be_editable()
    expect(theirs.get_by_role("button", name="초대 링크 만들기")).to_be_hidden()
    role.select_option("주인")
    expect(theirs.get_by_label("박민준의 역할")).to_have_value("owner")
    expect(theirs.get_by_role("button", name="초대 링크 만들기")).to_be_visible()
    assert role_of(minjun, room_id, sofia) == "owner"


def test_the_last_owner_can_not_step_down(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    ours = panel(minjun.enter(room_id))
    mine = ours.get_by_label("박민준의 역할")
    mine.select_option("함께 씀")
    asked = minjun.page.get_by_role("dialog", name="주인 자리를 내려놓을까요")
    asked.get_by_role("button", name="그만두기").click()
    expect(mine).to_have_value("owner")
    mine.select_option("함께 씀")
    asked.get_by_role("button", name="내려놓기").click()
    expect(ours).to_contain_text("마지막 주인이에요. 먼저 다른 사람을 주인으로 정해 주세요.")
    expect(mine).to_have_value("owner")
    ours.get_by_label("Sofia Reyes의 역할").select_option("주인")
    until(lambda: role_of(minjun, room_id, sofia) == "owner", minjun.page)
    mine.select_option("함께 씀")
    asked.get_by_role("button", name="내려놓기").click()
    expect(ours.get_by_role("combobox")).to_have_count(0)
    assert role_of(minjun, room_id, minjun) == "member"


def test_somebody_is_removed(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    sofia.enter(room_id)
    ours = panel(minjun.enter(room_id))
    ours.get_by_role("button", name="Sofia Reyes 님 내보내기").click()
    minjun.page.get_by_role("dialog", name="Sofia Reyes 님을 내보낼까요").get_by_role("button", name="내보내기").click()
    people_list = ours.get_by_role("list", name="사람")
    expect(people_list.get_by_role("listitem")).to_have_count(1)
    expect(people_list).to_be_focused()
    expect(sofia.page.locator("#toast")).to_have_text("이제 이 방에 들어갈 수 없어요.")
    assert role_of(minjun, room_id, sofia) is None


def test_the_part_lives_on_while_one_types(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    later = people.person(f"나중 {id(people)}")
    room_id = minjun.room(sofia)
    ours = panel(minjun.enter(room_id))
    field = ours.get_by_label("이름이나 이메일")
    field.fill("찾는 중인 이")
    minjun.api("POST", f"/rooms/{room_id}/members", {"userId": later.id})
    rows = ours.get_by_role("list", name="사람").get_by_role("listitem")
    expect(rows).to_have_count(3)
    expect(field).to_have_value("찾는 중인 이")
    expect(field).to_be_focused()
    role = ours.get_by_label("Sofia Reyes의 역할")
    role.focus()
    sofia.enter(room_id)
    expect(rows.filter(has_text="Sofia Reyes")).to_contain_text("여기 있음")
    expect(role).to_be_focused()
    minjun.api("DELETE", f"/rooms/{room_id}/members/{later.id}")
    expect(rows).to_have_count(2)
    expect(role).to_be_focused()


def test_people_are_invited_to_read_by_name_and_by_link(people: People) -> None:
    minjun, reader, guest = people.person("박민준"), people.person(f"독자 {id(people)}"), people.person("이서연")
    room_id = minjun.room(name="공지")
    ours = panel(minjun.enter(room_id))
    ours.get_by_role("radio", name="읽기만").check(force=True)
    ours.get_by_label("이름이나 이메일").fill(reader.name)
    ours.get_by_role("button", name="초대", exact=True).click()
    expect(ours).to_contain_text("이미 있음")
    assert role_of(minjun, room_id, reader) == "reader"
    ours.get_by_role("button", name="초대 링크 만들기").click()
    link = ours.get_by_label("링크로 부르기")
    expect(link).to_have_value(re.compile("/i/"))
    expect(link).to_be_focused()
    address = link.input_value()
    guest.page.goto(address)
    guest.page.get_by_role("button", name="들어오세요").click()
    expect(guest.page).to_have_url(re.compile(f"/r/{room_id}"))
    assert role_of(minjun, room_id, guest) == "reader"
    panel(minjun, "방")
    ours = panel(minjun)
    links = ours.get_by_role("list", name="쓸 수 있는 링크")
    expect(links).to_contain_text("읽기만, 100명 중 1명 들어옴")
    links.get_by_role("button", name="링크 끝내기").click()
    expect(links.get_by_role("listitem")).to_have_count(0)
    guest.page.goto(address)
    expect(guest.page.get_by_role("heading", name="이 초대는 끝났어요")).to_be_visible()


def test_a_room_is_taken_along_as_a_file_also_by_readers(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(name="출시 준비")
    minjun.api("POST", f"/rooms/{room_id}/members", {"userId": sofia.id, "role": "reader"})
    minjun.say(room_id, "10시 30분에 올립시다.")
    theirs = panel(sofia.enter(room_id), "방")
    for name, called in (("Markdown 파일로 내려받기", "출시 준비.md"), ("JSON 파일로 내려받기", "출시 준비.json")):
        with sofia.page.expect_download() as started:
            theirs.get_by_role("link", name=name).click()
        assert started.value.suggested_filename == called
        text = Path(started.value.path()).read_text("utf-8")
        assert "10시 30분에 올립시다." in text
        if called.endswith("json"):
            assert json.loads(text)["room"]["id"] == room_id
    expect(theirs.get_by_role("button", name="방 지우기")).to_have_count(0)
