// All rooms: how many are in them, how much was said, how long it is kept.

import { make } from "../dom.js";
import { day } from "../figures.js";
import { say, words } from "../i18n.js";
import { Paged } from "./paged.js";
import { heading, searchField } from "./parts.js";
import { Rows } from "./rows.js";

const SORTS = ["made", "messages", "members"];

export function roomName({ name }) {
  return name || say("room.unnamed");
}

export function keptFor({ retentionDays }) {
  return retentionDays ? say("rooms.days", { n: retentionDays }) : say("rooms.asServer");
}

const columns = () => [
  {
    key: "name",
    label: say("roomPart.name"),
    kind: "wide",
    cell: (room) => make("a", { href: `#rooms/${room.id}` }, roomName(room)),
  },
  {
    key: "members",
    label: say("stats.members"),
    kind: "end",
    sort: true,
    cell: (room) => words.number(room.memberCount),
  },
  {
    key: "messages",
    label: say("stats.messages"),
    kind: "end",
    sort: true,
    cell: (room) => words.number(room.messageCount),
  },
  { key: "kept", label: say("rooms.kept"), kind: "fixed", cell: keptFor },
  { key: "made", label: say("rooms.made"), kind: "end", sort: true, cell: (room) => day(room.createdAt) },
];

export async function show(route, go) {
  let { q, sort } = route.query;
  const move = () => go("rooms", [], { q, sort }, { quiet: true });
  const sorted = (key) => {
    sort = key;
    move();
  };
  const look = (text) => {
    q = text;
    move();
  };
  const rows = new Rows({ label: say("admin.rooms"), columns: columns(), none: say("rooms.none"), long: true, sorted });
  const paged = new Paged(rows);
  const load = ({ query }) => {
    ({ q, sort } = query);
    if (!SORTS.includes(sort)) sort = "made";
    rows.sortedBy(sort, sort === "made" ? "asc" : "desc");
    paged.load("/admin/rooms", { q, sort });
  };
  load(route);
  return {
    node: [heading(say("admin.rooms"), searchField(say("rooms.find"), q ?? "", look)), paged.node],
    moved: load,
  };
}
