// Who has read up to which row. Pure.

/**
 * rows: of arrange.js. members: {userId, name, readSeq}. Returns a Map of row key -> members whose last read message it is;
 * without me, without who wrote it himself, and without whose last read message lies above the rows.
 */
export function readersOf(rows, members, meId) {
  const messages = rows.filter(({ kind }) => kind === "message");
  const spoke = new Map(); // who speaks has read
  for (const { message } of messages) if (message.role === "user") spoke.set(message.userId, message.seq);
  const found = new Map();
  for (const member of members) {
    if (member.userId === meId) continue;
    const seq = Math.max(member.readSeq, spoke.get(member.userId) ?? 0);
    const row = messages.findLast(({ message }) => message.seq <= seq);
    if (!row || row.message.userId === member.userId) continue;
    found.set(row.key, [...(found.get(row.key) ?? []), member]);
  }
  return found;
}
