// What an entry of the audit log was done to: `user <uuid>`, `room <uuid>`, `all rooms`. Pure.

const VIEWS = { user: "people", room: "rooms" };
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** {word: "user", "room", "all_rooms" or null, href: of its page or null, id} */
export function placeOf(target) {
  if (target === "all rooms") return { word: "all_rooms", href: null, id: null };
  const [kind, id = ""] = target.split(" ");
  if (!(kind in VIEWS) || !UUID.test(id)) return { word: null, href: null, id: null };
  return { word: kind, href: `#${VIEWS[kind]}/${id}`, id };
}
