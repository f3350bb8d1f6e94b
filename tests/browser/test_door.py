"""Coming in and going: accounts, invitations, languages."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.people import PASSWORD, People

pytestmark = pytest.mark.browser


def test_somebody_makes_an_account_leaves_and_comes_back(people: People) -> None:
    person = people.stranger().open()
    page = person.page
    expect(page).to_have_url(re.compile("/login$"))
    page.get_by_role("link", name="계정 만들기").click()
    form = page.locator("#register")
    form.get_by_label("이름").fill("한지수")
    form.get_by_label("이메일").fill(person.email)
    form.get_by_label("비밀번호").fill(PASSWORD)
    form.get_by_role("button", name="계정 만들기").click()
    expect(page.get_by_text("연결됨")).to_be_visible()
    cookie = next(one for one in person.context.cookies() if one["name"] == "maru_session")
    assert cookie["httpOnly"]
    assert page.evaluate("JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie") == "{}"

    page.get_by_role("button", name="나가기").click()
    expect(page).to_have_url(re.compile("/login$"))
    form = page.locator("#login")
    form.get_by_label("이메일").fill(person.email)
    form.get_by_label("비밀번호").fill("wrong password")
    form.get_by_role("button", name="들어가기").click()
    expect(form.get_by_role("alert")).to_have_text("이메일이나 비밀번호가 맞지 않아요.")
    form.get_by_label("비밀번호").fill(PASSWORD)
    form.get_by_role("button", name="들어가기").click()
    expect(page.get_by_text("연결됨")).to_be_visible()


def test_a_field_that_is_wrong_is_named(people: People) -> None:
    person = people.stranger().open("/login#register")
    form = person.page.locator("#register")
    form.get_by_label("이름").fill("한지수")
    form.get_by_label("이메일").fill(person.email)
    form.get_by_label("비밀번호").fill("short")
    form.get_by_role("button", name="계정 만들기").click()
    expect(form.get_by_role("alert")).to_have_text("비밀번호는 8자에서 256자까지예요.")
    expect(form.get_by_label("비밀번호")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("비밀번호")).to_be_focused()


def test_an_invitation_leads_a_stranger_into_the_room(people: People) -> None:
    owner = people.person("박민준")
    room_id = owner.room(name="출시 준비")
    owner.say(room_id, "기다리고 있어요")
    code = owner.api("POST", f"/rooms/{room_id}/invites")["code"]
    guest = people.stranger("Sofia Reyes").open(f"/i/{code}")
    expect(guest.page.get_by_role("heading", name="출시 준비")).to_be_visible()
    guest.page.get_by_role("link", name="계정 만들고 들어가기").click()
    form = guest.page.locator("#register")
    form.get_by_label("이름").fill(guest.name)
    form.get_by_label("이메일").fill(guest.email)
    form.get_by_label("비밀번호").fill(PASSWORD)
    form.get_by_role("button", name="계정 만들기").click()
    expect(guest.page).to_have_url(re.compile(f"/r/{room_id}$"))
    guest.sees("기다리고 있어요")


def test_one_who_is_signed_in_enters_by_a_single_button(people: People) -> None:
    owner, guest = people.person("박민준"), people.person("이서연")
    room_id = owner.room(name="점심")
    guest.open(f"/i/{owner.api('POST', f'/rooms/{room_id}/invites')['code']}")
    guest.page.get_by_role("button", name="들어오세요").click()
    expect(guest.page).to_have_url(re.compile(f"/r/{room_id}$"))
    guest.open("/i/no-such-code")
    expect(guest.page.get_by_role("heading", name="이 초대는 끝났어요")).to_be_visible()


def test_the_page_speaks_english_and_korean(people: People) -> None:
    person = people.person("Sofia Reyes", locale="en-US").open()
    page = person.page
    page.get_by_role("button", name="New chat").first.click()
    expect(person.field).to_have_attribute("placeholder", "Write anything")
    expect(page.locator("#who-answers")).to_have_text("Maru will answer")
    page.locator(".side [data-language]").click()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#who-answers")).to_have_text("보내면 Maru가 답해요")
    page.get_by_role("button", name="나가기").click()
    expect(page.get_by_role("heading", name="들어오세요")).to_be_visible()


def test_the_theme_is_kept_and_does_not_flash(people: People) -> None:
    person = people.stranger().open("/login")
    button = person.page.locator("[data-theme-next]")
    button.click()
    button.click()
    expect(person.page.locator("html")).to_have_attribute("data-theme", "dark")
    person.page.reload(wait_until="commit")
    expect(person.page.locator("html")).to_have_attribute("data-theme", "dark")
    assert person.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(26, 27, 25)"


def test_the_reference_can_be_read_and_used(people: People) -> None:
    reader = people.stranger(locale="en-US", phone=True).open("/docs")
    expect(reader.page.get_by_role("heading", name="Socket commands")).to_be_visible()
    reader.page.locator("#command-send > summary").click()
    expect(reader.page.locator("#command-send")).to_contain_text("clientId?")
    expect(reader.page.locator("#post_rooms")).to_contain_text("/rooms")
    assert reader.width_over() <= 0
