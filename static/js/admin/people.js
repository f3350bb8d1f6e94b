// Everybody with an account: looking somebody up; what can be done with one is on a page of his own.

import { make } from "../dom.js";
import { day } from "../figures.js";
import { say } from "../i18n.js";
import { Paged } from "./paged.js";
import { heading, searchField } from "./parts.js";
import { Rows, who } from "./rows.js";

const columns = () => [
  {
    key: "name",
    label: say("person.name"),
    kind: "wide",
    cell: (user) => who(user.id, user.name, { href: `#people/${user.id}`, note: user.email }),
  },
  { key: "role", label: say("person.role"), kind: "fixed", cell: (user) => say(`person.role.${user.role}`) },
  { key: "state", label: say("person.state"), kind: "fixed", cell: stateOf },
  { key: "joined", label: say("person.joined"), kind: "end", cell: (user) => day(user.createdAt) },
];

/** In words, and in the colour of a fault where somebody is kept out. */
export function stateOf({ disabled }) {
  return make(
    "span",
    { class: disabled ? "state--fault" : "faint" },
    say(disabled ? "person.disabled" : "person.enabled"),
  );
}

export async function show({ query }, go) {
  const rows = new Rows({ label: say("admin.people"), columns: columns(), none: say("person.none"), long: true });
  const paged = new Paged(rows);
  const look = (q) => go("people", [], { q }, { quiet: true });
  paged.load("/admin/users", { q: query.q });
  return {
    node: [heading(say("admin.people"), searchField(say("person.find"), query.q ?? "", look)), paged.node],
    moved: (route) => paged.load("/admin/users", { q: route.query.q }),
  };
}
