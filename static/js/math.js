// Formulas, set by KaTeX, which a page without them never loads. Until then, or when it fails, their source is shown.

import { make } from "./dom.js";

const HOME = "../vendor/katex/";
const HOW = {
  throwOnError: true,
  trust: false,
  strict: "ignore",
  maxSize: 20, // em
  maxExpand: 300,
  output: "htmlAndMathml",
};
const LONGEST = 4_000; // characters of a formula
let katex = null;
let loading = null;

/** The place of a formula, from the code element that the parser left for it. */
export function formulaNode(code) {
  const tex = code.textContent;
  return make("span", { class: code.className, "data-tex": tex }, tex);
}

/** Sets all formulas in `node`, now or once KaTeX is there. */
export function typeset(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return;
  const places = node.matches(".math") ? [node] : node.querySelectorAll(".math");
  const unset = [...places].filter((place) => !place.firstElementChild && !place.title);
  if (unset.length === 0) return;
  if (katex) unset.forEach(set);
  else (loading ??= load()).then(() => unset.forEach(set), () => (loading = null));
}

async function load() {
  const sheet = make("link", { rel: "stylesheet", href: new URL(`${HOME}katex.min.css`, import.meta.url).pathname });
  const isThere = new Promise((done, fail) => {
    sheet.addEventListener("load", done);
    sheet.addEventListener("error", fail);
  });
  document.head.append(sheet);
  [{ default: katex }] = await Promise.all([import("../vendor/katex/katex.mjs"), isThere]);
}

function set(place) {
  const { tex } = place.dataset;
  const isDisplay = place.classList.contains("math--display");
  try {
    if (tex.length > LONGEST) throw new Error("Too long.");
    // What katex.render() does, but for a step between.
    const tree = katex.__renderToDomTree(tex, { ...HOW, displayMode: isDisplay });
    withoutStyleAttributes(tree);
    place.replaceChildren(tree.toNode());
    if (isDisplay) place.tabIndex = 0; // it may be wider than the page: keys can scroll it
  } catch (error) {
    place.classList.add("math--wrong");
    place.title = error.message;
  }
}

/** KaTeX writes most styles as properties, but some, of \vec for one, as an attribute, which the CSP forbids. */
function withoutStyleAttributes(branch) {
  const css = branch.attributes?.style;
  if (css) {
    delete branch.attributes.style;
    const toNode = branch.toNode.bind(branch);
    branch.toNode = () => {
      const node = toNode();
      node.style.cssText = css;
      return node;
    };
  }
  branch.children?.forEach(withoutStyleAttributes);
}
