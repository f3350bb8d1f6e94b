// Making elements. Text becomes text nodes; nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** `make("button", {class: "tool", onclick: fn, "aria-label": text}, child, "text", null)`. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function drawing(name, className) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const icon = (name) => drawing(name, "icon");
export const smallIcon = (name) => drawing(name, "icon icon--small");
export const mark = () => drawing("mark", "mark");

export function laying(label) {
  const named = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return make("span", { class: "laying", ...named }, make("i"), make("i"), make("i"));
}

/** A button of an icon alone. */
export function tool(name, label, onclick, { small = true, ...more } = {}) {
  const className = small ? "tool tool--small" : "tool";
  return make(
    "button",
    { type: "button", class: className, "aria-label": label, title: label, onclick, ...more },
    small ? smallIcon(name) : icon(name),
  );
}

/** The part of a name that a stamp shows: a Korean given name's first syllable, else the first letter. */
export function initial(name) {
  const letters = [...name.trim()];
  const korean = /^[가-힣]{2,4}$/u.test(name.trim());
  return (korean && letters.length >= 3 ? letters[1] : (letters[0] ?? "")).toUpperCase();
}

export function inkOf(id) {
  let sum = 0;
  for (const letter of id ?? "") sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return (sum % 6) + 1;
}

/** A person's name stamp; ink by the user's id. */
export function stamp(name, id, { own = false, online = false, size = "" } = {}) {
  const kinds = ["stamp", own && "stamp--own", online && "stamp--online", size && `stamp--${size}`];
  return make(
    "span",
    { class: kinds.filter(Boolean).join(" "), "data-ink": own ? null : inkOf(id), "aria-hidden": "true" },
    initial(name),
  );
}

export function botStamp(size = "") {
  return make("span", { class: `stamp stamp--bot ${size && `stamp--${size}`}`, "aria-hidden": "true" }, mark());
}

/** A function that has `draw` done with the next frame, once however often it is asked for. A page in the background
 * has no frames, but its title counts what is unread. */
export function soon(draw) {
  let frame = 0;
  let timer = 0;
  const once = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    timer = 0;
    draw();
  };
  return () => {
    if (timer) return;
    frame = requestAnimationFrame(once);
    timer = setTimeout(once, 250);
  };
}
