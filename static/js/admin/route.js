// Where one is, as the address's hash says it: `#usage/model?since=2026-11-01`. Pure.

/** {view, rest: the parts behind it, query: its parameters} */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?", 2);
  const [view, ...rest] = path.split("/").map(decoded);
  return { view, rest: rest.filter(Boolean), query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The hash of a place. Parameters without a value are left out. */
export function hashOf(view, rest = [], query = {}) {
  const path = [view, ...rest].map(encodeURIComponent).join("/");
  return `#${path}${queryOf(query)}`;
}

/** `?a=1&b=2`, or "" for nothing. */
export function queryOf(query) {
  const said = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return said.length ? `?${new URLSearchParams(said)}` : "";
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
