"""One's own account: name, devices, password, keys, usage, taking one's data along, leaving for good."""

import json
import re
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Locator, expect

from tests.browser.people import PASSWORD, People, Person

pytestmark = pytest.mark.browser

PHONE_AGENT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1"
)


def account(person: Person, part: str) -> Locator:
    """The dialog, at one of its parts."""
    dialog = person.page.get_by_role("dialog", name="내 계정")
    if not dialog.is_visible():
        person.page.get_by_role("button", name=f"{person.name} 내 계정").click()
    dialog.get_by_role("radio", name=part, exact=True).check(force=True)
    return dialog


def sign_in(person: Person, password: str = PASSWORD) -> requests.Response:
    """On another device."""
    body = {"email": person.email, "password": password}
    return requests.post(person.site.url + "/auth/login", json=body, headers={"User-Agent": PHONE_AGENT}, timeout=10)


def test_a_new_name_is_seen_by_everybody(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia, name="출시")
    minjun.api("POST", f"/rooms/{room_id}/messages", {"text": "먼저 한 말"})
    sofia.enter(room_id)
    said = sofia.page.locator(".message", has_text="먼저 한 말")
    expect(said).to_contain_text("박민준")
    minjun.enter(room_id)
    minjun.page.get_by_role("button", name="방 설정").click()
    dialog = account(minjun, "나")
    expect(dialog).to_contain_text(minjun.email)
    dialog.get_by_label("이름").fill("박민재")
    dialog.get_by_role("button", name="저장").click()
    expect(dialog.get_by_role("status")).to_have_text("저장했어요.")
    minjun.page.keyboard.press("Escape")
    button = minjun.page.get_by_role("button", name="박민재 내 계정")
    expect(button).to_be_focused()
    expect(minjun.page.locator("#my-stamp")).to_have_text("민")
    expect(said).to_contain_text("박민재")  # while the page was open
    for person in (minjun, sofia):
        if person is sofia:
            sofia.page.get_by_role("button", name="방 설정").click()
        expect(person.page.get_by_role("complementary", name="방 설정")).to_contain_text("박민재")


def test_what_is_wrong_with_a_field_is_told_beside_it(people: People) -> None:
    minjun = people.person("박민준").open()
    dialog = account(minjun, "나")
    name = dialog.get_by_label("이름")
    name.fill("   ")
    dialog.get_by_role("button", name="저장").click()
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_be_focused()
    expect(name).to_have_accessible_description("이름은 1자에서 80자까지예요.")
    name.fill("민준")
    dialog.get_by_role("button", name="저장").click()
    expect(name).not_to_have_attribute("aria-invalid", "true")
    expect(name).to_have_accessible_description("다른 사람에게 이렇게 보여요.")


def test_the_theme_is_chosen_and_the_language_changed(people: People) -> None:
    minjun = people.person("박민준").open()
    dialog = account(minjun, "나")
    dialog.get_by_role("radio", name="어둡게").check(force=True)
    expect(minjun.page.locator("html")).to_have_attribute("data-theme", "dark")
    theme_color = minjun.page.locator("meta[name=theme-color]").evaluate_all(
        "metas => metas.filter(({ media }) => matchMedia(media).matches).map(({ content }) => content)"
    )
    assert theme_color == ["#1a1b19"]
    dialog.get_by_role("button", name="English").click()
    expect(minjun.page.locator("html")).to_have_attribute("lang", "en")
    minjun.connected()
    minjun.page.get_by_role("button", name="박민준 My account").click()
    dialog = minjun.page.get_by_role("dialog", name="My account")
    expect(dialog.get_by_role("radio", name="Dark")).to_be_checked()


def test_a_device_is_signed_out_from_another(people: People) -> None:
    minjun = people.person("박민준")
    elsewhere = sign_in(minjun).json()["token"]
    dialog = account(minjun.open(), "기기")
    rows = dialog.get_by_role("list", name="들어와 있는 기기").get_by_role("listitem")
    expect(rows.filter(has_text="Safari, iPhone")).to_contain_text("127.0.0.1")
    expect(rows.filter(has_text="Chrome").filter(has_text="이 기기")).to_have_count(1)
    dialog.get_by_role("button", name="Safari, iPhone 내보내기").click()
    expect(rows.filter(has_text="Safari, iPhone")).to_have_count(0)
    expect(dialog.get_by_role("list", name="들어와 있는 기기")).to_be_focused()
    answer = requests.get(minjun.site.url + "/users/me", headers={"Authorization": f"Bearer {elsewhere}"}, timeout=10)
    assert answer.status_code == 401


def test_another_password_signs_out_the_other_devices_and_keeps_this_one(people: People) -> None:
    minjun = people.person("박민준")
    sign_in(minjun)
    dialog = account(minjun.open(), "기기")
    rows = dialog.get_by_role("list", name="들어와 있는 기기").get_by_role("listitem")
    before = rows.filter(has_text="iPhone")
    expect(before).to_have_count(1)
    old, new = dialog.get_by_label("지금 비밀번호"), dialog.get_by_label("새 비밀번호")
    old.fill("not this one")
    new.fill("a fresh password")
    new.press("Enter")
    expect(old).to_have_accessible_description("비밀번호가 맞지 않아요.")
    expect(old).to_be_focused()
    old.fill(PASSWORD)
    new.fill("short")
    new.press("Enter")
    expect(new).to_have_accessible_description("비밀번호는 8자에서 256자까지예요.")
    new.fill("a fresh password")
    new.press("Enter")
    expect(dialog).to_contain_text("바꿨어요. 다른 기기는 모두 내보냈어요.")
    expect(before).to_have_count(0)
    expect(new).to_have_value("")
    assert sign_in(minjun).status_code == 401
    assert sign_in(minjun, "a fresh password").status_code == 200
    minjun.page.reload()
    minjun.connected()


def test_a_key_is_shown_once_works_and_is_deleted(people: People) -> None:
    minjun = people.person("박민준").open()
    dialog = account(minjun, "키")
    expect(dialog).to_contain_text("키가 아직 없어요.")
    dialog.get_by_label("어디에 쓰나요").fill("배포 알림")
    dialog.get_by_label("언제까지 쓰나요").select_option("30일")
    dialog.get_by_role("button", name="키 만들기").click()
    shown = dialog.get_by_label("새 키")
    expect(shown).to_have_value(re.compile("^maru_"))
    expect(shown).to_be_focused()
    key = shown.input_value()

    def asked() -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.get(minjun.site.url + "/users/me", headers=headers, timeout=10).status_code

    assert asked() == 200
    row = dialog.get_by_role("listitem").filter(has_text="배포 알림")
    expect(row).to_contain_text(re.compile(r"\d{4}년 \d+월 \d+일까지"))
    minjun.page.keyboard.press("Escape")
    dialog = account(minjun, "키")
    expect(dialog.get_by_label("새 키")).to_have_count(0)
    assert key not in dialog.inner_html()
    dialog.get_by_role("button", name="배포 알림 키 지우기").click()
    minjun.page.get_by_role("dialog", name="배포 알림 키를 지울까요").get_by_role("button", name="키 지우기").click()
    expect(dialog).to_contain_text("키가 아직 없어요.")
    assert asked() == 401


def test_tokens_are_told(people: People) -> None:
    minjun = people.person("박민준")
    room_id = minjun.room(when="always")
    minjun.enter(room_id)
    minjun.write("안녕")
    expect(minjun.answer.locator(".message__foot")).to_contain_text("demo", timeout=15_000)
    usage = minjun.api("GET", "/users/me/usage")
    assert usage["today"]["outputTokens"] > 0
    row = account(minjun, "사용량").get_by_role("row", name=re.compile("^오늘"))
    told = [re.sub(r"\D", "", text) for text in row.get_by_role("cell").all_text_contents()]
    assert told == [str(usage["today"]["inputTokens"]), str(usage["today"]["outputTokens"])]


def test_ones_data_is_taken_along(people: People) -> None:
    minjun = people.person("박민준")
    minjun.say(minjun.room(name="일기"), "오늘은 비")
    dialog = account(minjun.open(), "데이터")
    with minjun.page.expect_download() as started:
        dialog.get_by_role("link", name="내려받기").click()
    data = json.loads(Path(started.value.path()).read_text("utf-8"))
    assert data["user"]["email"] == minjun.email
    assert [message["text"] for message in data["rooms"][0]["messages"]] == ["오늘은 비"]


def test_leaving_for_good_asks_for_the_password(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    minjun.say(room_id, "안녕히")
    sofia.enter(room_id)
    dialog = account(minjun.enter(room_id), "데이터")
    dialog.get_by_role("button", name="계정 지우기").click()
    asked = minjun.page.get_by_role("dialog", name="계정을 지울까요")
    password = asked.get_by_label("비밀번호")
    expect(password).to_be_focused()
    password.fill("a guess")
    password.press("Enter")
    expect(password).to_have_accessible_description("비밀번호가 맞지 않아요.")
    asked.get_by_role("button", name="그만두기").click()
    expect(dialog.get_by_role("button", name="계정 지우기")).to_be_focused()
    dialog.get_by_role("button", name="계정 지우기").click()
    asked.get_by_label("비밀번호").fill(PASSWORD)
    asked.get_by_role("button", name="계정 지우기").click()
    expect(minjun.page).to_have_url(re.compile("/login$"))
    assert sign_in(minjun).status_code == 401
    sofia.page.reload()
    expect(sofia.page.locator(".message", has_text="안녕히")).to_contain_text("떠난 사람")


def test_the_account_fills_a_phone_and_keeps_the_focus(people: People) -> None:
    sofia = people.person("Sofia Reyes", locale="en-US", phone=True).open()
    sofia.connected()
    button = sofia.page.get_by_role("button", name="Sofia Reyes My account")
    button.tap()
    dialog = sofia.page.get_by_role("dialog", name="My account")
    box = dialog.bounding_box()
    assert box == {"x": 0, "y": 0, "width": 360, "height": 740}
    for part in ("Me", "Devices", "Keys", "Usage", "Data"):
        dialog.get_by_role("radio", name=part, exact=True).check(force=True)
        body = dialog.locator(".account__body")
        assert body.evaluate("node => node.scrollWidth <= node.clientWidth"), part
    dialog.get_by_role("button", name="Close").tap()
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
