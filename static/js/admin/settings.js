// How the server is set up, to read; and what everybody and each room may use, to change.

import { api } from "../api.js";
import { make } from "../dom.js";
import { say } from "../i18n.js";
import { Budgets } from "./budgets.js";
import { house } from "./house.js";
import { block, heading, searchField } from "./parts.js";
import { Rows } from "./rows.js";

const columns = () => [
  { key: "name", label: say("settings.name"), cell: ({ name }) => make("code", {}, name) },
  { key: "value", label: say("settings.value"), cell: valueOf },
  {
    key: "what",
    label: say("settings.what"),
    kind: "wide",
    cell: ({ description }) => make("span", { lang: "en" }, description),
  },
];

function valueOf({ value, isDefault, isSecret }) {
  const text = isSecret ? say(value ? "settings.set" : "settings.unset") : value || say("settings.unset");
  const shown = isSecret || !value ? make("span", { class: "faint" }, text) : make("code", {}, text);
  return isDefault ? [shown, make("small", { class: "under" }, say("settings.isDefault"))] : shown;
}

export async function show() {
  const [items, { unpriced }] = await Promise.all([api.all("/admin/settings"), house()]);
  const rows = new Rows({ label: say("settings.title"), columns: columns(), none: say("settings.none"), long: true });
  const look = (text) => {
    const wanted = text.toLowerCase();
    rows.show(items.filter((one) => `${one.name} ${one.description}`.toLowerCase().includes(wanted)));
  };
  rows.show(items);
  const models = unpriced.length
    ? make("ul", { class: "plain" }, ...unpriced.map((model) => make("li", {}, make("code", {}, model))))
    : make("p", { class: "block__note" }, say("settings.allPriced"));
  return {
    node: [
      heading(say("admin.settings")),
      block(
        say("budgets.everyPerson"),
        make("p", { class: "block__note" }, say("budgets.note")),
        new Budgets("user").node,
      ),
      block(say("budgets.everyRoom"), new Budgets("room").node),
      block(say("settings.unpriced"), make("p", { class: "block__note" }, say("settings.unpricedNote")), models),
      block(
        say("settings.title"),
        make("p", { class: "block__note" }, say("settings.note")),
        searchField(say("settings.find"), "", look),
        rows.node,
      ),
    ],
  };
}
