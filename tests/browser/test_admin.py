"""For administrators: figures, people, rooms, the live log, usage, faults, settings, the audit log; and what the rest of
the page shows of their doing."""

import json
import re
import time
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Locator, Page, expect

from tests.browser.people import PASSWORD, People, Person, until

pytestmark = pytest.mark.browser


def see(person: Person, view: str, heading: str) -> Page:
    person.open(f"/admin#{view}")
    expect(person.page.get_by_role("heading", level=1)).to_have_text(heading)
    return person.page


def section(page: Page, title: str) -> Locator:
    return page.locator("section").filter(has=page.get_by_role("heading", name=title, exact=True))


def sure(page: Page, title: str | re.Pattern[str], yes: str) -> None:
    page.get_by_role("dialog", name=title).get_by_role("button", name=yes).click()


def answered(person: Person, room_id: str) -> None:
    def ended() -> bool:
        answers = [message for message in person.messages(room_id) if message["role"] == "bot"]
        return bool(answers) and all(message["status"] not in ("queued", "streaming") for message in answers)

    until(ended, person.page, 20)


def test_only_administrators_come_in_and_only_they_see_the_way(people: People) -> None:
    stranger = people.stranger().open("/admin#people")
    expect(stranger.page).to_have_url(re.compile("/login\\?next=/admin"))
    expect(stranger.page.locator("#login")).to_be_visible()
    somebody, keeper = people.person("박민준"), people.administrator()
    answer = somebody.page.goto(somebody.site.url + "/admin")
    assert answer is not None and answer.status == 403
    expect(somebody.page.get_by_role("heading", level=1)).to_have_text("관리자만 볼 수 있어요")
    somebody.page.get_by_role("link", name="마루로 가기").click()
    for person, count in ((somebody, 0), (keeper, 1)):
        person.open()
        person.connected()
        person.page.locator("#account").click()
        expect(person.page.get_by_role("link", name="서버 관리하기")).to_have_count(count)
    keeper.page.get_by_role("link", name="서버 관리하기").click()
    expect(keeper.page.get_by_role("heading", level=1)).to_have_text("한눈에")


def test_who_signs_in_for_a_view_gets_that_view(people: People) -> None:
    keeper = people.administrator()
    stranger = people.stranger().open("/admin#errors")
    form = stranger.page.locator("#login")
    form.get_by_label("이메일").fill(keeper.email)
    form.get_by_label("비밀번호").fill(PASSWORD)
    form.get_by_role("button", name="들어가기").click()
    expect(stranger.page).to_have_url(re.compile("/admin#errors$"))


def test_views_have_addresses_of_their_own(people: People) -> None:
    keeper = people.administrator()
    page = see(keeper, "overview", "한눈에")
    expect(page).to_have_title(re.compile("^한눈에"))
    tabs = page.get_by_role("navigation", name="관리")
    for name in ("사람", "방", "사용량", "기록"):
        tabs.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        expect(tabs.locator("[aria-current=page]")).to_have_text(name)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("사용량")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("사용량")


def test_the_overview_tells_figures_and_goes_on_by_itself(people: People) -> None:
    keeper, minjun = people.administrator(), people.person("박민준")
    room_id = minjun.room(when="always")
    minjun.say(room_id, "몇 시에 올리지?")
    answered(minjun, room_id)
    page = see(keeper, "overview", "한눈에")
    messages = page.locator(".fact").filter(has_text="오늘 메시지").locator("dd").first
    before = int(messages.inner_text().replace(",", ""))
    assert before >= 1
    for name in ("하루 메시지", "첫 토큰까지 걸린 시간", "하루 토큰", "하루 비용", "하루 오류"):
        chart = page.get_by_role("img", name=re.compile("^" + name))
        expect(chart.locator("canvas")).to_be_visible()
        expect(chart).to_have_attribute("aria-label", re.compile(r"부터 .+까지|아직 없어요"))
    figure = page.locator("figure").filter(has_text="하루 메시지")
    figure.get_by_text("표로 보기").click()
    table = page.get_by_role("region", name="하루 메시지")
    expect(table.get_by_role("row")).to_have_count(15)
    minjun.say(room_id, "한 번 더")
    expect(messages).to_have_text(str(before + 1), timeout=15_000)
    expect(table).to_be_visible()
    page.get_by_role("radio", name="24시간").check(force=True)
    expect(table.get_by_role("row")).to_have_count(25)
    page.reload()
    expect(page.get_by_role("radio", name="24시간")).to_be_checked()
    expect(page.get_by_role("img", name=re.compile("^시간당 메시지"))).to_be_visible()


def test_somebody_is_found_kept_out_and_let_in_again(people: People) -> None:
    keeper, minjun = people.administrator(), people.person(f"박민준 {time.time_ns()}")
    room_id = minjun.room()
    minjun.enter(room_id)
    page = see(keeper, "people", "사람")
    page.get_by_role("searchbox").fill(minjun.email)
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"#people\?q="))
    page.get_by_role("link", name=minjun.name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(minjun.name)
    page.get_by_role("radio", name="관리자").check(force=True)
    expect(page.get_by_text("역할을 바꿨어요.")).to_be_visible()
    assert minjun.api("GET", "/users/me")["role"] == "admin"
    page.get_by_role("button", name="계정 막기").click()
    sure(page, re.compile("계정을 막을까요"), "계정 막기")
    expect(page.locator(".facts")).to_contain_text("막아 둠")
    expect(minjun.page).to_have_url(re.compile("/login"))
    page.get_by_role("button", name="다시 풀기").click()
    expect(page.locator(".facts")).to_contain_text("쓰는 중")
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value(minjun.email)


def test_devices_are_signed_out_one_by_one_and_all(people: People) -> None:
    keeper, minjun = people.administrator(), people.person("박민준")
    for agent in ("curl/8.5.0", "python-requests/2.32"):
        body = {"email": minjun.email, "password": PASSWORD}
        requests.post(minjun.site.url + "/auth/login", json=body, headers={"User-Agent": agent}, timeout=10)
    page = see(keeper, f"people/{minjun.id}", "박민준")
    devices = section(page, "들어와 있는 기기")
    rows = devices.get_by_role("listitem")
    expect(rows).to_have_count(3)
    rows.filter(has_text="curl").get_by_role("button").click()
    expect(rows).to_have_count(2)
    devices.get_by_role("button", name="모든 기기 내보내기").click()
    sure(page, re.compile("모든 기기에서"), "모든 기기 내보내기")
    expect(devices).to_contain_text("들어와 있는 기기가 없어요.")
    assert minjun.context.request.get(minjun.site.url + "/users/me").status == 401


def test_a_new_password_is_chosen_by_a_link_that_works_once(people: People) -> None:
    keeper, minjun = people.administrator(), people.person("박민준")
    page = see(keeper, f"people/{minjun.id}", "박민준")
    page.get_by_role("button", name="비밀번호 새로 정하기").click()
    sure(page, re.compile("비밀번호를 새로"), "링크 만들기")
    dialog = page.get_by_role("dialog", name="비밀번호 링크")
    link = dialog.get_by_role("textbox").input_value()
    assert "/login#reset=" in link
    dialog.get_by_role("button", name="닫기").click()
    expect(dialog).to_have_count(0)
    for who in (people.stranger(), minjun):  # the second is signed in, and sent on to the rooms first
        who.page.goto(link)
        form = who.page.locator("#reset")
        expect(form).to_be_visible()
        assert "reset=" not in who.page.evaluate("location.hash")
        form.get_by_label("새 비밀번호").fill("another good password")
        form.get_by_role("button").click()
        if who is minjun:
            expect(form.get_by_role("alert")).to_contain_text("관리자에게 새 링크를 받아 주세요.")
        else:
            expect(who.page.get_by_text("연결됨")).to_be_visible()
    body = {"email": minjun.email, "password": "another good password"}
    assert requests.post(minjun.site.url + "/auth/login", json=body, timeout=10).status_code == 200


def test_an_account_is_deleted_by_who_types_its_email(people: People) -> None:
    keeper, minjun, sofia = people.administrator(), people.person("박민준"), people.person("Sofia Reyes")
    room_id = sofia.room(minjun)
    minjun.say(room_id, "지워질 말")
    page = see(keeper, f"people/{minjun.id}", "박민준")
    page.get_by_role("button", name="계정 지우기").click()
    dialog = page.get_by_role("dialog", name=re.compile("계정을 지울까요"))
    dialog.get_by_label("쓴 글은").select_option("모두 지우기")
    field = dialog.get_by_label(re.compile("이라고 써 주세요"))
    field.fill(sofia.email)
    dialog.get_by_role("button", name="계정 지우기").click()
    expect(dialog.get_by_role("status")).to_have_text("이메일이 달라요. 그대로 써 주세요.")
    field.fill(minjun.email)
    dialog.get_by_role("button", name="계정 지우기").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("사람")
    until(lambda: all(message.get("deleted") for message in sofia.messages(room_id)), page)
    page.goto(keeper.site.url + f"/admin#people/{minjun.id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("이 계정은 없어요")


def test_a_budget_is_set_and_both_sides_see_it_used_up(people: People) -> None:
    keeper, minjun = people.administrator(), people.person("박민준")
    room_id = minjun.room(when="always")
    minjun.say(room_id, "몇 시에 올리지?")
    answered(minjun, room_id)
    page = see(keeper, f"people/{minjun.id}", "박민준")
    budgets = section(page, "예산")
    soft, hard = (budgets.get_by_label(f"하루 토큰, {which}") for which in ("알림 선", "한도"))
    soft.fill("9")
    hard.fill("2")
    budgets.get_by_role("button", name="저장").click()
    expect(budgets.get_by_role("status")).to_have_text("알림 선은 한도보다 클 수 없어요.")
    soft.fill("1")
    budgets.get_by_role("button", name="저장").click()
    expect(budgets.get_by_role("status")).to_have_text("저장했어요.")
    expect(budgets).to_contain_text("다 썼어요")
    minjun.enter(room_id)
    minjun.write("하나 더")
    foot = minjun.answer.locator(".message__foot")
    expect(foot).to_contain_text("정해 둔 만큼 다 썼어요. 관리자에게 물어봐 주세요.", timeout=15_000)
    minjun.page.locator("#account").click()
    minjun.page.locator(".account input[value=usage]").check(force=True)
    mine = minjun.page.get_by_role("list", name="예산").get_by_role("listitem")
    expect(mine).to_have_count(1)
    expect(mine).to_contain_text("하루 토큰")
    expect(mine).to_contain_text("다 썼어요")
    for field in (soft, hard):
        field.fill("")
    budgets.get_by_role("button", name="저장").click()
    expect(budgets).not_to_contain_text("다 썼어요")


def test_what_is_older_than_a_room_keeps_leaves_open_pages(people: People) -> None:
    minjun, sofia = people.person("박민준"), people.person("Sofia Reyes")
    room_id = minjun.room(sofia)
    minjun.say(room_id, "열흘 전의 말")
    people.change("update messages set created_at = now() - interval '10 days' where room_id = %s", room_id)
    minjun.say(room_id, "오늘의 말")
    sofia.enter(room_id)
    sofia.sees("열흘 전의 말")
    minjun.enter(room_id)
    minjun.page.locator("#settings").click()
    minjun.page.locator("#panel input[value=room]").check(force=True)
    form = minjun.page.locator(".panel__form")
    form.get_by_label("며칠 동안 보관할까요").fill("7")
    form.get_by_role("button", name="정하기").click()
    sure(minjun.page, "7일이 지난 메시지를 지울까요", "그렇게 하기")
    expect(form.get_by_role("status")).to_have_text("저장했어요.")
    for person in (minjun, sofia):
        expect(person.bodies).to_have_count(1, timeout=15_000)
        person.sees("오늘의 말")
    sofia.page.locator("#settings").click()
    sofia.page.locator("#panel input[value=room]").check(force=True)
    expect(sofia.page.locator("#panel")).to_contain_text("메시지는 7일 동안 남아 있어요.")


def test_rooms_are_sorted_kept_for_less_and_deleted(people: People) -> None:
    keeper, minjun = people.administrator(), people.person("박민준")
    name = f"시험 {time.time_ns()}"
    small, large = (minjun.room(name=f"{name} {which}") for which in ("작은 방", "큰 방"))
    for room_id in (small, large, large):
        minjun.say(room_id, "말")
    page = see(keeper, "rooms", "방")
    page.get_by_role("searchbox").fill(name)
    names = page.get_by_role("rowheader")
    expect(names).to_have_text([f"{name} 작은 방", f"{name} 큰 방"])
    head = page.get_by_role("columnheader", name="메시지")
    head.get_by_role("button").click()
    expect(names).to_have_text([f"{name} 큰 방", f"{name} 작은 방"])
    expect(head).to_have_attribute("aria-sort", "descending")
    page.get_by_role("link", name=f"{name} 큰 방").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{name} 큰 방")
    page.get_by_label("며칠 동안 보관할까요").fill("30")
    section(page, "보관").get_by_role("button", name="저장").click()
    sure(page, "30일이 지난 메시지를 지울까요", "그렇게 하기")
    expect(page.locator(".facts")).to_contain_text("30일")
    assert minjun.api("GET", f"/rooms/{large}")["retentionDays"] == 30
    page.get_by_role("button", name="방 지우기").click()
    sure(page, re.compile("지울까요"), "방 지우기")
    expect(page.get_by_role("heading", level=1)).to_have_text("방")
    headers = {"Authorization": f"Bearer {minjun.token}"}
    assert requests.get(f"{keeper.site.url}/rooms/{large}", headers=headers, timeout=10).status_code == 404


def test_conversations_are_followed_and_reading_them_is_written_down(people: People) -> None:
    keeper, minjun = people.administrator(), people.person("박민준")
    room_id = minjun.room(when="mention", name="출시 준비")
    page = see(keeper, f"live/{room_id}", "출시 준비에서 오가는 대화")
    expect(page.get_by_text("따라가는 중")).to_be_visible()
    minjun.say(room_id, "비밀스러운 말")
    lines = page.locator(".told__line")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("7자")
    expect(lines).not_to_contain_text("비밀")
    page.get_by_role("button", name="내용 보기").click()
    expect(page.get_by_role("dialog")).to_contain_text("감사 기록에 남고")
    sure(page, "내용을 볼까요", "그만두기")
    page.get_by_role("button", name="내용 보기").click()
    sure(page, "내용을 볼까요", "기록하고 보기")
    expect(lines).to_contain_text("비밀스러운 말")
    page.get_by_role("button", name="멈추기").click()
    minjun.say(room_id, "@마루 하나")
    resume = page.get_by_role("button", name=re.compile("이어 보기, 새로 2개"))
    expect(resume).to_be_visible()
    expect(lines).to_have_count(1)
    resume.click()
    expect(lines).to_have_count(3)
    expect(lines.first).to_contain_text("끝남", timeout=15_000)
    page.get_by_role("radio", name="답", exact=True).check(force=True)
    expect(lines).to_have_count(1)
    page.get_by_role("radio", name="모두").check(force=True)
    page.get_by_role("searchbox").fill("비밀")
    expect(lines).to_have_count(1)
    page.get_by_role("button", name="내용 가리기").click()
    page.get_by_role("searchbox").fill("")
    expect(lines).to_have_count(3)
    expect(page.locator(".told__text")).to_have_count(0)
    see(keeper, "audit", "기록")
    row = page.get_by_role("row").filter(has_text="대화 내용을 봄").first
    row.get_by_role("link", name=re.compile("방")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("출시 준비")


def test_usage_is_sorted_narrowed_and_taken_along(people: People) -> None:
    keeper, minjun = people.administrator(), people.person(f"박민준 {time.time_ns()}")
    room_id = minjun.room(when="always")
    minjun.say(room_id, "몇 시에 올리지?")
    answered(minjun, room_id)
    page = see(keeper, "usage", "사용량")
    head = page.get_by_role("columnheader", name="메시지")
    expect(page.get_by_role("columnheader", name="토큰", exact=True)).to_have_attribute("aria-sort", "descending")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(head.get_by_role("button")).to_be_focused()
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("radio", name="모델").check(force=True)
    expect(page.get_by_role("rowheader").first).to_contain_text("demo")
    page.get_by_role("radio", name="7일").check(force=True)
    expect(page).to_have_url(re.compile("#usage/model.*since="))
    page.reload()
    expect(page.get_by_role("radio", name="7일")).to_be_checked()
    expect(page.get_by_role("radio", name="모델")).to_be_checked()
    expect(page.get_by_role("rowheader").last).to_have_text("모두")
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV 파일로 내려받기").click()
    text = Path(started.value.path()).read_text("utf-8-sig")
    assert text.startswith("key,name,messages") and "demo" in text
    with page.expect_download() as started:
        page.get_by_role("button", name="JSON 파일로 내려받기").click()
    assert started.value.suggested_filename.endswith(".json")
    items = json.loads(Path(started.value.path()).read_text("utf-8"))
    assert any("demo" in item["key"] for item in items)


def test_settings_are_shown_without_secrets_and_faults_by_kind(people: People) -> None:
    keeper = people.administrator()
    people.change("insert into errors (kind, detail) values ('test.kind', 'Something <b>went</b> wrong.')")
    page = see(keeper, "settings", "설정")
    page.get_by_role("searchbox").fill("jwt_secret")
    row = page.get_by_role("row").filter(has_text="JWT_SECRET")
    expect(row).to_contain_text("정해 둠")
    expect(page.locator("body")).not_to_contain_text("a browser test's secret")
    see(keeper, "errors", "오류")
    row = page.get_by_role("row").filter(has_text="test.kind")
    expect(row).to_contain_text("Something <b>went</b> wrong.")


def test_it_speaks_english_and_fits_a_phone(people: People) -> None:
    keeper = people.administrator("Ada", locale="en-US", phone=True)
    for view, heading in (("overview", "Overview"), ("people", "People"), ("rooms", "Rooms"), ("live", "Live conversations"),
                          ("usage", "Usage"), ("errors", "Errors"), ("settings", "Settings"), ("audit", "Audit")):  # fmt: skip
        page = see(keeper, view, heading)
        assert keeper.width_over() <= 0, view
        assert page.locator("#hall").evaluate("node => node.scrollWidth <= node.clientWidth"), view
        expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_be_in_viewport(ratio=0.9)


def test_the_chat_page_loads_nothing_of_it(people: People) -> None:
    keeper = people.administrator()
    asked: list[str] = []
    keeper.page.on("request", lambda request: asked.append(request.url))
    keeper.open()
    keeper.connected()
    assert [url for url in asked if "admin" in url or "uplot" in url] == []
