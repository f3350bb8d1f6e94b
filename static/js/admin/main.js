// The administrators' page: one view at a time, chosen by the address's hash, each a module that comes when it is asked for.

import "./words.js";
import { laying, make } from "../dom.js";
import { say, words } from "../i18n.js";
import { house } from "./house.js";
import { hashOf, parse } from "./route.js";

const VIEWS = {
  overview: () => import("./overview.js"),
  people: ({ rest }) => (rest.length ? import("./person.js") : import("./people.js")),
  rooms: ({ rest }) => (rest.length ? import("./room.js") : import("./rooms.js")),
  live: () => import("./live.js"),
  usage: () => import("./usage.js"),
  errors: () => import("./errors.js"),
  settings: () => import("./settings.js"),
  audit: () => import("./audit.js"),
};

const hall = document.getElementById("hall");
const tabs = document.getElementById("tabs");
let shown = null; // {name, view}; a view is {node, stop?(), moved?(route)}
let turn = 0;

/** The same view may only move: its list sorted by something else, for instance. */
async function follow() {
  const route = parse(location.hash);
  if (!(route.view in VIEWS)) route.view = "overview";
  const name = `${route.view} ${route.rest.length && ["people", "rooms"].includes(route.view) ? route.rest[0] : ""}`;
  if (shown?.name === name) return shown.view.moved?.(route);
  const now = ++turn;
  shown?.view.stop?.();
  shown = null;
  mark(route.view);
  const late = setTimeout(
    () => hall.replaceChildren(make("div", { class: "hall__page" }, laying(say("account.loading")))),
    200,
  );
  try {
    const { show } = await VIEWS[route.view](route);
    const view = await show(route, go);
    if (now !== turn) return view.stop?.();
    shown = { name, view };
    hall.replaceChildren(make("div", { class: "hall__page" }, ...[view.node].flat()));
    hall.scrollTop = 0;
  } catch (error) {
    if (now === turn) refuse(error);
  } finally {
    clearTimeout(late);
  }
  return undefined;
}

function mark(view) {
  for (const tab of tabs.children) {
    if (tab.hash === `#${view}`) {
      tab.setAttribute("aria-current", "page");
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else tab.removeAttribute("aria-current");
  }
  document.title = `${say(`admin.${view}`)} · ${say("admin.title")} · ${say("app")}`;
}

function refuse(error) {
  if (error.status === 401) return location.assign("/login?next=/admin");
  const text = error.code ? words.error(error) : say("error.network"); // a module that did not come is no ApiError
  const again = make("button", { type: "button", class: "button", onclick: follow }, say("admin.again"));
  return hall.replaceChildren(
    make(
      "div",
      { class: "hall__page", role: "alert" },
      make("h1", {}, say("error.other")),
      make("p", {}, text),
      make("div", {}, again),
    ),
  );
}

/** To another place. quiet: the way back does not lead through here. */
function go(view, rest = [], query = {}, { quiet = false } = {}) {
  const hash = hashOf(view, rest, query);
  if (!quiet) location.hash = hash;
  else {
    history.replaceState(null, "", hash);
    follow();
  }
}

addEventListener("hashchange", follow);
follow();
house().catch(() => {}); // the view that needs it says what is wrong
