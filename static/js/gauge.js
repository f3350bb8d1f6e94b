// A part of a whole, as a bar.

const SVG = "http://www.w3.org/2000/svg";

/** A bar of a whole. kind: "", "soft" or "over". text says it in words. */
export function barOf(part, text, kind = "") {
  const svg = document.createElementNS(SVG, "svg");
  const set = (node, values) => Object.entries(values).forEach(([name, value]) => node.setAttribute(name, value));
  set(svg, { class: "bar-of", viewBox: "0 0 112 6", preserveAspectRatio: "none" });
  if (text) set(svg, { role: "img", "aria-label": text });
  else set(svg, { "aria-hidden": "true" });
  const width = Math.round(112 * Math.min(1, Math.max(0, part)));
  for (const [name, length] of [
    ["bar-of__all", 112],
    [`bar-of__part ${kind && `bar-of__part--${kind}`}`, width],
  ]) {
    const board = document.createElementNS(SVG, "rect");
    set(board, { class: name, width: length, height: 6, rx: 1 });
    svg.append(board);
  }
  return svg;
}
