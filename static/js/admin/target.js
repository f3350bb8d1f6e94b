// What an entry of the audit log tells: `keep 90 days`, done to `room <uuid>`, `user every`, `all rooms`. Pure.

const VIEWS = { user: "people", room: "rooms" };
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** {word: "user", "room", "every_user", "every_room", "all_rooms" or null, href: of its page or null, id} */
export function placeOf(target) {
  if (target === "all rooms") return { word: "all_rooms", href: null, id: null };
  const [kind, id = ""] = target.split(" ");
  if (kind in VIEWS && id === "every") return { word: `every_${kind}`, href: null, id: null };
  if (!(kind in VIEWS) || !UUID.test(id)) return { word: null, href: null, id: null };
  return { word: kind, href: `#${VIEWS[kind]}/${id}`, id };
}

/** {key: of its words, values: for them, rest: what stands behind as the server wrote it} */
export function doneAs(action) {
  const [, days] = /^keep (\d+) days$/.exec(action) ?? [];
  if (days) return { key: "keep_days", values: { n: Number(days) }, rest: "" };
  const [, rest] = /^budget: (.*)$/.exec(action) ?? [];
  if (rest) return { key: "budget", values: {}, rest: rest.replace(/(\d)\.0\b/g, "$1") };
  return { key: action.replaceAll(" ", "_"), values: {}, rest: "" };
}
