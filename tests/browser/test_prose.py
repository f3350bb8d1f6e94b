"""Text as it streams and as it stays: formulas within the CSP, and long answers that end as if they had come whole."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import ROOT, People, Person

pytestmark = pytest.mark.browser

SHAPES = (ROOT / "scripts" / "bench" / "shapes.js").read_text("utf-8")
STREAMED = """async ([name, size]) => {
  const { Prose } = await import("/static/js/markdown.js");
  const text = shapes[name]();
  const place = () => document.getElementById("messages").appendChild(document.createElement("div"));
  const [streamed, whole] = [place(), place()];
  streamed.className = whole.className = "message__body";
  new Prose(whole).show(text);
  const prose = new Prose(streamed);
  for (let end = size; end < text.length; end += size) {
    prose.show(text.slice(0, end), false);
    await new Promise((done) => setTimeout(done, 16)); // it may rest after a long redraw
  }
  prose.show(text, true);
  await new Promise((done) => setTimeout(done, 500)); // colours and KaTeX
  const [one, other] = [streamed.innerHTML, whole.innerHTML];
  let at = 0;
  while (at < one.length && one[at] === other[at]) at++;
  const around = (html) => html.slice(Math.max(0, at - 80), at + 80);
  const outcome = { same: one === other, length: text.length, streamed: around(one), whole: around(other) };
  streamed.remove();
  whole.remove();
  return outcome;
}"""


def at_room(people: People, **how: Any) -> Person:
    person = people.person(**how)
    person.enter(person.room())
    return person


def shaped(page: Page) -> Page:
    page.evaluate(SHAPES)
    return page


@pytest.mark.parametrize("shape", ["mixed", "list", "paragraph", "lines", "table", "code", "quote", "nested"])
def test_a_long_answer_ends_as_if_it_had_come_whole(people: People, shape: str) -> None:
    page = shaped(at_room(people).page)
    outcome = page.evaluate(STREAMED, [shape, 700])
    assert outcome["same"], outcome


FORMULAS = [
    "값은 $x^2$이다. $5 and $6, 또 $5~$10은 돈이다. `$code$`",
    "줄 안 \\(a_b\\) 그리고\n\\[\n\\int_0^1 x\\,dx\n\\]",
    "여러 줄:\n$$\n\\begin{aligned}\na &= b \\\\\n- c &= \\vec{d} + \\sqrt{\\pmb{e}} + \\fcolorbox{red}{white}{f}\n\\end{aligned}\n$$",
    "$$" + " + ".join(f"x_{{{n}}}" for n in range(80)) + "$$",
]


def test_formulas_are_set_within_the_csp_and_never_widen_a_phone(people: People) -> None:
    person = people.person(phone=True)
    room_id = person.room()
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    person.say(room_id, "아직 없다")
    person.enter(room_id)
    assert not [url for url in asked if "katex" in url]
    for text in FORMULAS:
        person.say(room_id, text)
    expect(person.page.locator(".math > .katex, .math > .katex-display")).to_have_count(5)
    expect(person.page.locator(".math--wrong")).to_have_count(0)
    expect(person.page.locator(".katex-mathml math")).to_have_count(5)  # what a screen reader reads
    expect(person.bodies.nth(1)).to_contain_text("$5 and $6, 또 $5~$10은 돈이다. $code$")
    assert person.width_over() <= 0
    wide = person.page.locator(".math--display").last
    assert wide.evaluate("node => node.scrollWidth > node.clientWidth")


HOSTILE = [
    "\\href{javascript:window.bad=1}{x}",
    "\\url{javascript:window.bad=1}",
    "\\includegraphics{http://evil.example/a.png}",
    "\\htmlClass{message--own}{x} \\htmlId{messages}{x} \\htmlStyle{color:red}{x} \\htmlData{a=b}{x}",
    "\\rule{9999em}{9999em}",
    "\\def\\a{\\a\\a}\\a",
    "\\def\\b{xxxxxxxxxx}\\def\\c{\\b\\b\\b\\b\\b\\b\\b\\b\\b\\b}\\def\\d{\\c\\c\\c\\c\\c\\c\\c\\c\\c\\c}\\d\\d\\d\\d\\d\\d\\d\\d\\d",
    "<img src=x onerror=window.bad=1>",
    "\\text{</span><script>window.bad=1</script>}",
    "\\frac{",
]


def test_hostile_formulas_do_nothing(people: People) -> None:
    person = people.person()
    room_id = person.room()
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    for tex in HOSTILE:
        person.say(room_id, f"$${tex}$$")
    person.enter(room_id)
    expect(person.page.locator(".math > .katex, .math > .katex-display, .math--wrong")).to_have_count(len(HOSTILE))
    assert person.page.evaluate("window.bad") is None
    assert person.page.locator("#messages :is(script, img:not(.stamp), iframe, a[href^=java])").count() == 0
    assert person.page.locator(".math :is(a, [id], .message--own)").count() == 0
    assert (
        person.page.evaluate("Math.max(...[...document.querySelectorAll('.math')].map((n) => n.clientHeight))") < 1500
    )
    assert not [url for url in asked if "evil" in url]
    wrong = person.page.locator(".math--wrong", has_text="\\frac{")
    expect(wrong).to_have_attribute("title", re.compile("Unexpected end of input"))


STEADY = """async () => {
  const { Prose } = await import("/static/js/markdown.js");
  const node = document.getElementById("messages").appendChild(document.createElement("div"));
  node.className = "message__body";
  const warm = new Prose(node);
  warm.show("$x$");
  while (!node.querySelector(".katex")) await new Promise((done) => setTimeout(done, 20));
  const prose = new Prose(node);
  const seen = [];
  const show = async (text) => {
    prose.show(text, false);
    await new Promise((done) => setTimeout(done, 40)); // it may rest after a long redraw
  };
  await show("앞 문단.\\n\\n식은 $x^2$ 그리고 $$y");
  const formula = node.querySelector(".katex");
  seen.push(node.textContent.includes("$$y"));
  getSelection().setBaseAndExtent(node.firstChild.firstChild, 0, node.firstChild.firstChild, 2);
  await show("앞 문단.\\n\\n식은 $x^2$ 그리고 $$y = 1");
  seen.push(node.textContent.includes("$$y = 1"));
  await show("앞 문단.\\n\\n식은 $x^2$ 그리고 $$y = 1$$ 다음");
  seen.push(node.querySelector(".katex") === formula, node.querySelectorAll(".katex").length === 2);
  let text = "앞 문단.\\n\\n식은 $x^2$ 그리고 $$y = 1$$ 다음\\n\\n1. 하나\\n2. 둘 $z$\\n3. 셋";
  await show(text);
  const item = node.querySelector("li");
  for (let n = 4; n < 40; n++) await show((text += `\\n${n}. 또`));
  seen.push(node.querySelector("li") === item, item.isConnected, node.querySelector(".katex") === formula);
  seen.push(getSelection().toString() === "앞 ");
  node.remove();
  return seen;
}"""


def test_what_is_finished_stays_the_same_nodes_while_more_comes(people: People) -> None:
    assert all(at_room(people).page.evaluate(STEADY))
