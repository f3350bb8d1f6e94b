// Makes an element look like a fresh one, touching only what differs: selection and formulas in the rest stay.

import { CodeBlock } from "./code.js";

/** Returns the node that now stands in the place of `old`: itself where that was possible, else `fresh`. */
export function settle(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) {
    if (fresh.data.startsWith(old.data)) old.appendData(fresh.data.slice(old.length));
    else old.data = fresh.data;
    return old;
  }
  if (old.nodeType === Node.ELEMENT_NODE && fresh.nodeType === Node.ELEMENT_NODE && isSameElement(old, fresh)) {
    const code = CodeBlock.of(fresh);
    if (code) CodeBlock.of(old).become(code);
    else if (!old.dataset.tex) settleInside(old, fresh);
    return old;
  }
  old.replaceWith(fresh);
  return fresh;
}

function settleInside(old, fresh) {
  const wanted = [...fresh.childNodes];
  const kept = [...old.childNodes];
  for (const [n, node] of wanted.entries()) {
    if (n < kept.length) settle(kept[n], node);
    else old.append(node);
  }
  for (const node of kept.slice(wanted.length)) node.remove();
}

/** A formula is the same when its source is, whatever it was made into. */
function isSameElement(old, fresh) {
  if (CodeBlock.of(fresh)) return CodeBlock.of(old)?.language === CodeBlock.of(fresh).language;
  if (CodeBlock.of(old) || old.localName !== fresh.localName) return false;
  const isDisplay = (node) => node.classList.contains("math--display");
  if (fresh.dataset.tex) return old.dataset.tex === fresh.dataset.tex && isDisplay(old) === isDisplay(fresh);
  return old.cloneNode(false).isEqualNode(fresh.cloneNode(false));
}
