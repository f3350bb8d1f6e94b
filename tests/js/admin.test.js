// The administrators' page where it is pure: places, figures, lines of charts, budgets, the live log.

import assert from "node:assert/strict";
import test from "node:test";

import "../../static/js/admin/words.js";
import { LiveLines, fits } from "../../static/js/admin/live_lines.js";
import { hashOf, parse, queryOf } from "../../static/js/admin/route.js";
import { linesOver, namesTold, stacked } from "../../static/js/admin/scale.js";
import { doneAs, placeOf } from "../../static/js/admin/target.js";
import { faultOf, fullness, limitIn } from "../../static/js/budget.js";
import { bucketNames, compact, dayBefore, money, noonOf, seconds, share } from "../../static/js/figures.js";
import { Words } from "../../static/js/i18n.js";
import adminEn from "../../static/js/words/admin_en.js";
import adminKo from "../../static/js/words/admin_ko.js";
import en from "../../static/js/words/en.js";
import ko from "../../static/js/words/ko.js";

test("the administrators' catalogues have the same words with the same holes, and none of the chat's", () => {
  assert.deepEqual(Object.keys(adminKo), Object.keys(adminEn));
  const holes = (text) => [...new Set(JSON.stringify(text).match(/\{\w+\}/g) ?? [])].sort();
  for (const key of Object.keys(adminKo)) assert.deepEqual(holes(adminKo[key]), holes(adminEn[key]), key);
  assert.deepEqual(
    Object.keys(adminKo).filter((key) => key in ko || key in en),
    [],
  );
});

test("words that are learnt are said beside those that were known", () => {
  const words = new Words("en");
  assert.throws(() => words.say("admin.title"));
  words.learn({ ko: adminKo, en: adminEn });
  assert.deepEqual([words.say("admin.title"), words.say("app")], ["Admin", "Maru"]);
});

test("a place and its hash are the same thing", () => {
  const place = { view: "usage", rest: ["model"], query: { since: "2026-11-01", sort: "cost" } };
  assert.deepEqual(parse(hashOf(place.view, place.rest, place.query)), place);
  assert.deepEqual(parse("#people/a%2Fb?q=%EB%A7%88%EB%A3%A8"), {
    view: "people",
    rest: ["a/b"],
    query: { q: "마루" },
  });
  assert.deepEqual(parse(""), { view: "", rest: [], query: {} });
  assert.deepEqual(parse("#%zz"), { view: "%zz", rest: [], query: {} });
  assert.equal(queryOf({ a: "", b: null, c: undefined }), "");
  assert.equal(hashOf("rooms", [], { q: "" }), "#rooms");
});

test("large numbers are told short, with their unit apart", () => {
  assert.deepEqual(compact(9_999), ["9,999", ""]);
  assert.deepEqual(compact(4_181_142), ["418", "만"]);
});

test("small sums keep what they are of, and a column of them one width", () => {
  assert.equal(money(0), "$0.00");
  assert.equal(money(0.0123), "$0.0123");
  assert.equal(money(21.4071), "$21.41");
  assert.equal(money(3, "USD", 4), "$3.0000");
  assert.equal(money(3, "no currency"), "3 no currency");
  assert.deepEqual([seconds(1104), share(1, 400), share(1, 0), share(3, 4)], ["1.10", "<1%", "0%", "75%"]);
});

test("a day is the server's: noon there is on it, wherever that is", () => {
  for (const zone of [
    "UTC",
    "Asia/Seoul",
    "America/Los_Angeles",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Asia/Kolkata",
  ]) {
    const there = new Intl.DateTimeFormat("sv", { timeZone: zone, dateStyle: "short", timeStyle: "short" });
    assert.equal(there.format(new Date(noonOf("2026-03-08", zone))), "2026-03-08 12:00", zone);
  }
  const now = new Date("2026-11-25T20:00:00Z");
  assert.equal(dayBefore(0, now, "Asia/Seoul"), "2026-11-26");
  assert.equal(dayBefore(29, now, "UTC"), "2026-10-27");
  assert.equal(dayBefore(0, now, "no/zone").length, 10);
});

test("buckets are named on the server's clock", () => {
  const at = new Date("2026-11-25T20:00:00Z");
  assert.deepEqual(bucketNames(at, true, "Asia/Seoul").whole, "11월 26일 05:00");
  assert.equal(bucketNames(at, false, "UTC").axis, "11월 25일");
});

test("a chart's lines are round, over what is most, and whole where things are counted", () => {
  assert.deepEqual(linesOver(434, true), [0, 150, 300, 450]);
  assert.deepEqual(linesOver(0, true), [0, 1, 2, 3]);
  assert.deepEqual(linesOver(4, true), [0, 2, 4, 6]);
  assert.deepEqual(linesOver(0.0042, false), [0, 0.0015, 0.003, 0.0045]);
  for (let most = 1; most < 5000; most = Math.ceil(most * 1.13)) {
    const lines = linesOver(most, true);
    assert.ok(lines.at(-1) >= most && lines.every(Number.isInteger), String(most));
    assert.ok(lines.at(-1) <= Math.max(6, most * 2), String(most));
  }
});

test("names under a chart end with the last and have room", () => {
  assert.deepEqual(namesTold(14, 7), [1, 3, 5, 7, 9, 11, 13]);
  assert.deepEqual(namesTold(3, 10), [0, 1, 2]);
  assert.deepEqual(namesTold(0, 10), []);
});

test("boards lie on each other, and what is nothing is not drawn", () => {
  assert.deepEqual(
    stacked([
      [5, 0, 2],
      [1, 3, 0],
    ]),
    [
      [5, null, 2],
      [6, 3, null],
    ],
  );
});

test("an amount is a number that is not below nothing; tokens are whole", () => {
  assert.deepEqual(
    [limitIn(" ", "tokens"), limitIn("1,000,000", "tokens"), limitIn("0.5", "money")],
    [null, 1_000_000, 0.5],
  );
  for (const [text, unit] of [
    ["0.5", "tokens"],
    ["-1", "money"],
    ["much", "money"],
  ])
    assert.ok(Number.isNaN(limitIn(text, unit)));
  assert.equal(faultOf(null, 5), "");
  assert.ok(faultOf(6, 5) && faultOf(NaN, 5));
});

test("how full a budget is goes by its limit, or by the warning where that is all", () => {
  assert.deepEqual(fullness({ unit: "tokens", hard: 1000, soft: 800, spent: 900, state: "soft" }, "USD"), {
    part: 0.9,
    kind: "soft",
    text: "1,000 토큰 중 900 토큰 (90%)",
  });
  assert.deepEqual(fullness({ unit: "money", soft: 2, spent: 1, state: "under" }, "USD").text, "$2.00 중 $1.00 (50%)");
});

test("what an entry of the audit log was done to is a link where there is a page of it", () => {
  const id = "0190a2b4-1111-7222-8333-000000000001";
  assert.deepEqual(placeOf(`user ${id}`), { word: "user", href: `#people/${id}`, id });
  assert.equal(placeOf(`room ${id}`).href, `#rooms/${id}`);
  assert.deepEqual([placeOf("all rooms").word, placeOf("user every").word], ["all_rooms", "every_user"]);
  assert.deepEqual(placeOf("toString x"), { word: null, href: null, id: null });
  assert.deepEqual(doneAs("keep 90 days"), { key: "keep_days", values: { n: 90 }, rest: "" });
  assert.equal(doneAs("budget: soft -, hard 5.0 money a day").rest, "soft -, hard 5 money a day");
  assert.equal(doneAs("reset password").key, "reset_password");
});

const said = (id, fields = {}) => ({
  id,
  role: "user",
  status: "complete",
  userName: "민준",
  roomName: "출시",
  ...fields,
});

test("the live log holds the newest, each message once, and counts what comes while it is paused", () => {
  const lines = new LiveLines(3);
  for (const id of ["a", "b", "c", "d"]) lines.take(said(id));
  assert.deepEqual(
    lines.shown({}).map(({ id }) => id),
    ["d", "c", "b"],
  );
  lines.take(said("c", { status: "failed" }));
  assert.deepEqual(
    lines.shown({ kind: "failed" }).map(({ id }) => id),
    ["c"],
  );
  lines.pause();
  assert.equal(lines.take(said("e")), false);
  lines.take(said("e", { chars: 3 }));
  assert.deepEqual([lines.waiting, lines.shown({}).length], [1, 3]);
  lines.resume();
  assert.deepEqual([lines.waiting, lines.shown({}).map(({ id }) => id)], [0, ["e", "d", "c"]]);
});

test("what was said is forgotten when it is not to be shown any more, also what waits", () => {
  const lines = new LiveLines();
  lines.take(said("a", { text: "비밀" }));
  lines.pause();
  lines.take(said("b", { text: "비밀" }));
  lines.forget();
  lines.resume();
  assert.ok(lines.shown({}).every((line) => !("text" in line)));
});

test("lines are filtered by who, how it ended, and by any word of them", () => {
  const answer = said("a", {
    role: "bot",
    status: "failed",
    error: { code: "generation.timeout", message: "No token" },
  });
  assert.ok(fits(answer, { kind: "bot" }) && fits(answer, { kind: "failed" }) && fits(answer, { text: "TIMEOUT" }));
  assert.ok(
    !fits(answer, { kind: "people" }) && !fits(answer, { kind: "running" }) && !fits(answer, { text: "nothing" }),
  );
  assert.ok(fits(said("b"), { kind: "people", text: "출시" }));
});
