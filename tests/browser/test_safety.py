"""Hostile words in messages, names and rooms stay words; nothing foreign is loaded; phones don't scroll sideways."""

import pytest
from playwright.sync_api import expect

from tests.browser.people import People

pytestmark = pytest.mark.browser

HOSTILE = [
    "<script>window.bad = 1</script>",
    "<img src=x onerror='window.bad = 1'>",
    "<svg onload=window.bad=1><style>@import 'http://evil.example/x'</style>",
    "[click](javascript:window.bad=1) [data](data:text/html,<script>window.bad=1</script>)",
    "<a href='javascript:window.bad=1'>x</a><iframe srcdoc='<script>parent.bad=1</script>'></iframe>",
    "```html\n<img src=x onerror=window.bad=1>\n```",
    "`<b onmouseover=window.bad=1>` **<i onclick=window.bad=1>x</i>**",
    "| <script>window.bad=1</script> |\n|---|\n| <img src=x onerror=window.bad=1> |",
    '<math><mtext><table><mglyph><style><img src=x onerror="window.bad=1">',
    '![x" onerror="window.bad=1](http://evil.example/a.png "t\\" onerror=\\"window.bad=1")',
    '<form action="http://evil.example"><input name=attributes><button>go</button></form>',
]
NAME = "<img src=x onerror=window.bad=1>"


def test_hostile_words_stay_words(people: People) -> None:
    attacker, victim = people.person(NAME), people.person("한지수")
    room_id = attacker.room(victim, name='"><script>window.bad=1</script>', when="mention")
    asked: list[str] = []
    victim.page.on("request", lambda request: asked.append(request.url))
    for text in HOSTILE:
        attacker.say(room_id, text)
    attacker.say(room_id, "@마루 " + " ".join(HOSTILE))
    victim.enter(room_id)
    victim.sees("<script>window.bad = 1</script>")
    expect(victim.page.locator("#messages .message--answer")).to_contain_text("낱말", timeout=15_000)
    expect(victim.page.locator("#messages .message--streaming")).to_have_count(0, timeout=15_000)
    expect(victim.page.locator(".message__name").first).to_have_text(NAME)
    expect(victim.page.locator("#room-name")).to_have_text('"><script>window.bad=1</script>')
    victim.page.get_by_role("button", name="방 설정").click()
    expect(victim.page.get_by_role("complementary", name="방 설정")).to_contain_text(NAME)
    assert victim.page.evaluate("window.bad") is None
    forbidden = "#messages :is(script, style, iframe, form, img, svg:not(.icon, .mark), [onerror], [onclick], [onload], [style])"
    assert victim.page.locator(forbidden).count() == 0
    assert victim.page.locator("#messages a[href^='javascript'], #messages a[href^='data']").count() == 0
    assert [url for url in asked if not url.startswith((people.site.url, people.site.url.replace("http", "ws")))] == []


def test_foreign_pictures_and_links_wait_for_a_click(people: People) -> None:
    person = people.person()
    room_id = person.room()
    person.say(room_id, "![지도](https://maps.example/a.png) [글](https://blog.example/x) [안](/r/abc)")
    person.enter(room_id)
    picture = person.page.get_by_role("link", name="지도")
    expect(picture).to_contain_text("maps.example")
    for link in (picture, person.page.get_by_role("link", name="글", exact=True)):
        expect(link).to_have_attribute("rel", "noopener noreferrer")
        expect(link).to_have_attribute("target", "_blank")


def test_code_is_coloured_and_copied(people: People) -> None:
    person = people.person()
    room_id = person.room()
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.say(room_id, "```sql\nselect 1; -- 주석\n```")
    person.enter(room_id)
    code = person.page.locator(".code")
    expect(code.locator(".hljs-comment")).to_have_text("-- 주석")
    code.get_by_role("button").click()
    expect(code.get_by_role("button")).to_have_text("복사함")
    assert person.page.evaluate("navigator.clipboard.readText()") == "select 1; -- 주석"
    expect(code.get_by_role("button")).to_have_text("복사")


def test_a_phone_shows_one_thing_at_a_time_and_never_scrolls_sideways(people: People) -> None:
    person = people.person("한지수", phone=True)
    room_id = person.room(name="아주 긴 이름을 가진 방이라서 한 줄에 다 들어가지 않는 그런 방")
    person.say(room_id, "가" * 500 + "\n\n" + "x" * 500 + "\n\n```\n" + "y" * 300 + "\n```")
    columns, line, values = " | ".join(f"열 {n}" for n in range(12)), "---|" * 12, " | ".join(["값값값값"] * 12)
    person.say(room_id, f"| {columns} |\n|{line}\n| {values} |")
    person.open()
    expect(person.page.get_by_role("main", name="방")).to_be_visible()
    assert person.width_over() <= 0
    person.page.get_by_role("link", name="아주 긴 이름").click()
    expect(person.page.locator(".table")).to_be_visible()
    expect(person.page.locator(".side")).to_be_hidden()
    assert person.width_over() <= 0
    person.field.fill("한 줄")
    person.field.press("Enter")
    expect(person.field).to_have_value("한 줄\n")
    person.page.get_by_role("button", name="보내기").tap()
    person.sees("한 줄")
    person.page.get_by_role("button", name="방 설정").tap()
    assert person.width_over() <= 0
    person.page.get_by_role("button", name="닫기").tap()
    person.page.get_by_role("link", name="방 목록").tap()
    expect(person.page.get_by_role("main", name="방")).to_be_visible()
    for path in ("/login", "/i/none", "/docs"):
        person.context.clear_cookies()
        person.open(path)
        assert person.width_over() <= 0, path
