// From a room's messages to the rows of its log: days, the line of what is new, who goes on talking, what answers what. Pure.

import { sameDay } from "./i18n.js";

const GO_ON_MS = 5 * 60_000;

/**
 * messages: in order, a part of the room's. pending: sends that follow them. freshAfter: seq behind which all was
 * unread, or null. unread: how many that were.
 * Returns rows {kind: "day" | "fresh" | "message" | "pending", key, ...}: `more`, the same person goes on within five
 * minutes; `asked`, the next row answers it; `below`, it answers the row above.
 */
export function arrange({ messages, pending = [], meId, freshAfter = null, unread = 0 }) {
  const rows = [];
  let before = null;
  let day = null;
  for (const message of messages) {
    const at = new Date(message.ts);
    if (!day || !sameDay(day, at)) {
      rows.push({ kind: "day", key: `day ${at.toDateString()}`, at });
      before = null;
      day = at;
    }
    if (freshAfter !== null && message.seq > freshAfter && message.userId !== meId) {
      rows.push({ kind: "fresh", key: "fresh", count: unread });
      before = null;
      freshAfter = null;
    }
    const below = before?.message?.id !== undefined && before.message.id === message.replyTo && message.role === "bot";
    if (below) before.asked = true;
    const row = {
      kind: "message",
      key: message.id,
      message,
      at,
      below,
      asked: false,
      more: goesOn(before, message.userId, at) && message.role === "user" && !message.replyTo,
    };
    rows.push(row);
    before = row;
  }
  for (const one of pending) {
    const at = new Date(one.at);
    const row = {
      kind: "pending",
      key: one.clientId,
      pending: one,
      userId: meId,
      at,
      more: goesOn(before, meId, at) && !one.replyTo && one.state !== "failed",
    };
    rows.push(row);
    before = row;
  }
  return rows;
}

function goesOn(before, userId, at) {
  if (!before || userId === null) return false;
  const author =
    before.kind === "pending" ? before.userId : before.message.role === "user" ? before.message.userId : null;
  return author === userId && before.message?.deleted !== true && at - before.at < GO_ON_MS;
}
