// Faults of the last thirty days, by kind.

import { api } from "../api.js";
import { make } from "../dom.js";
import { moment } from "../figures.js";
import { say, words } from "../i18n.js";
import { heading } from "./parts.js";
import { Rows } from "./rows.js";

const columns = () => [
  { key: "kind", label: say("errors.kind"), cell: ({ kind }) => make("code", {}, kind) },
  { key: "count", label: say("errors.count"), kind: "end", cell: ({ count }) => words.number(count) },
  { key: "first", label: say("errors.first"), kind: "fixed", cell: ({ firstAt }) => at(firstAt) },
  { key: "last", label: say("errors.last"), kind: "fixed", cell: ({ lastAt }) => at(lastAt) },
  { key: "example", label: say("errors.example"), kind: "wide", cell: example },
];

const at = (text) => make("time", { datetime: text }, moment(text));

function example({ example: text, requestId }) {
  if (!requestId) return text;
  return [text, make("small", { class: "under" }, say("errors.request"), " ", make("code", {}, requestId))];
}

export async function show() {
  const rows = new Rows({ label: say("admin.errors"), columns: columns(), none: say("errors.none"), long: true });
  rows.show(await api.all("/admin/errors"));
  return { node: [heading(say("admin.errors")), make("p", { class: "hall__lead" }, say("errors.lead")), rows.node] };
}
