// What of a long text a search result shows. Pure; ranges are in code points, as the server counts.

const BEFORE = 24;
const MOST = 140;

/** Pieces `{text, isHit}` of about MOST code points that begin a little before the first range; spaces run together. */
export function excerpt(text, ranges) {
  const points = Array.from(text);
  const first = ranges[0]?.[0] ?? 0;
  const start = first > BEFORE * 2 ? first - BEFORE : 0;
  const end = Math.min(points.length, start + MOST);
  const pieces = [];
  let at = start;
  const add = (to, isHit) => {
    const part = points.slice(at, to).join("").replace(/\s+/gu, " ");
    if (part) pieces.push({ text: part, isHit });
    at = Math.max(at, to);
  };
  for (const [from, to] of ranges) {
    if (from >= end) break;
    if (to <= at) continue;
    add(Math.max(at, from), false);
    add(Math.min(to, end), true);
  }
  add(end, false);
  if (start > 0) pieces.unshift({ text: "…", isHit: false });
  if (end < points.length) pieces.push({ text: "…", isHit: false });
  return pieces;
}
