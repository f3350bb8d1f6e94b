// Where a long text can be cut, so that what comes before is finished although its paragraph goes on. Pure.

export const LONGEST_HEAD = 1_000; // longer first lines are no table's head, longer texts no underlined heading
const PART = 1_200; // a text is cut where its inline marks are closed, behind so many characters
const PART_AT_MOST = 4 * PART; // and here in any case: a mark can't be open for longer
const TRIED_EACH = 100;

/** A text in parts that are lexed each for itself; where they are cut depends on nothing that comes later. */
export function parts(text) {
  const found = [];
  let rest = text;
  for (let end; (end = partEnd(rest)) > 0; rest = rest.slice(end)) found.push(rest.slice(0, end));
  found.push(rest);
  return found;
}

// A line's end before a line that is surely text, or a sentence's.
const BOUNDARY = /\n(?=[^\n]*\p{L})|(?<=[.!?…。]["')\]]*) (?=\S)/gu;
const ANY_SPACE = /\n(?=[^\n]*\p{L})| (?=\S)/gu;

function partEnd(text) {
  if (text.length <= PART) return 0;
  const closed = firstEnd(text, BOUNDARY, PART, PART_AT_MOST, isClosed);
  return closed || firstEnd(text, ANY_SPACE, PART_AT_MOST, Infinity, () => true);
}

function firstEnd(text, boundary, from, to, isGood) {
  boundary.lastIndex = from;
  for (let match; (match = boundary.exec(text)) && match.index < to; ) {
    const end = match[0] === "\n" ? match.index : match.index + 1; // a line's end goes with what follows it
    // A short line may turn out to be a table's head: it stays whole.
    const staysWhole = match[0] !== "\n" && end - text.lastIndexOf("\n", end) <= LONGEST_HEAD;
    if (!staysWhole && isGood(text.slice(0, end))) return end;
    boundary.lastIndex = Math.max(boundary.lastIndex, end + TRIED_EACH);
  }
  return 0;
}

/** As far as a look at the marks can tell: no code, emphasis, link or formula goes on behind this text. */
function isClosed(text) {
  const bare = text
    .replace(/\\[^([]/g, "")
    .replace(/(`+)(?!`)[^]*?[^`]\1(?!`)/g, "")
    .replace(/\$\$[^$]*\$\$|\$(?![\s$])[^$\n]*?[^\s$]\$(?!\d)|\\\([^\n]*?\\\)|\\\[[^]*?\\\]/g, "")
    .replace(/(?<=\s)[*_]+(?=\s)|(?<=[\p{L}\p{N}])_+(?=[\p{L}\p{N}])/gu, "");
  const count = (sign) => bare.split(sign).length - 1;
  const runs = (signs) => bare.match(signs)?.length ?? 0;
  return (
    !/`|\\[([]|\$\$|\$(?=\S)[^\n]*$/.test(bare) &&
    runs(/\*+/g) % 2 === 0 &&
    runs(/_+/g) % 2 === 0 &&
    runs(/~~+/g) % 2 === 0 &&
    count("[") === count("]")
  );
}
