// What administrators did, newest first; who and what are links.

import { make } from "../dom.js";
import { moment } from "../figures.js";
import { say, words } from "../i18n.js";
import { Paged } from "./paged.js";
import { heading } from "./parts.js";
import { Rows, who } from "./rows.js";
import { doneAs, placeOf } from "./target.js";

const columns = () => [
  { key: "at", label: say("audit.when"), kind: "fixed", cell: ({ at }) => make("time", { datetime: at }, moment(at)) },
  {
    key: "who",
    label: say("audit.who"),
    cell: ({ userId, userName }) =>
      who(userId, userName ?? "", { href: userId && userName ? `#people/${userId}` : null }),
  },
  { key: "action", label: say("audit.action"), kind: "wide", cell: ({ action }) => actionOf(action) },
  { key: "target", label: say("audit.target"), cell: ({ target }) => targetOf(target) },
];

/** In the page's words where there are some; else as the server wrote it. */
export function actionOf(action) {
  const { key, values, rest } = doneAs(action);
  if (!words.has(`audit.${key}`)) return make("code", {}, action);
  return [say(`audit.${key}`, values), rest && make("small", { class: "under" }, rest)];
}

function targetOf(target) {
  const { word, href, id } = placeOf(target);
  const name = word ? say(`audit.of.${word}`) : target;
  if (!href) return name;
  return make("a", { href }, name, " ", make("code", {}, id.slice(0, 8)));
}

export async function show() {
  const rows = new Rows({ label: say("admin.audit"), columns: columns(), none: say("audit.none"), long: true });
  const paged = new Paged(rows);
  paged.load("/admin/audit");
  return { node: [heading(say("admin.audit")), make("p", { class: "hall__lead" }, say("audit.lead")), paged.node] };
}
