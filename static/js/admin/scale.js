// Where a chart's lines lie: three steps of a round number over nothing, and as many names below as there is room for. Pure.

const ROUND = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
const LINES = 3;

/** [0, a, 2a, 3a], the last no less than `most`. isWhole: of things that are counted. */
export function linesOver(most, isWhole) {
  const wanted = most > 0 ? most / LINES : isWhole ? 1 : 0.1;
  const tens = 10 ** Math.floor(Math.log10(wanted));
  const fits = (round) => round * tens >= wanted * 0.999999 && (!isWhole || Number.isInteger(round * tens));
  const step = (ROUND.find(fits) ?? Math.ceil(wanted / tens)) * tens;
  const kept = isWhole ? Math.max(1, Math.ceil(step)) : step;
  return Array.from({ length: LINES + 1 }, (_, n) => Number((n * kept).toPrecision(12)));
}

/** Indices of those of `count` names that are told, the last among them, at most `room`. */
export function namesTold(count, room) {
  const every = Math.max(1, Math.ceil(count / Math.max(1, room)));
  const told = [];
  for (let at = count - 1; at >= 0; at -= every) told.unshift(at);
  return told;
}

/** Each row with all rows below it: what boards laid on each other reach. A row without a value of its own is not drawn. */
export function stacked(rows) {
  return rows.map((row, at) =>
    row.map((value, column) =>
      value ? rows.slice(0, at + 1).reduce((sum, below) => sum + (below[column] ?? 0), 0) : null,
    ),
  );
}
