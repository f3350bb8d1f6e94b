// What stands under a message: sources, how an answer ended and what can be done about it, a send that failed.

import { make, smallIcon, tool } from "./dom.js";
import { say, words } from "./i18n.js";

function button(sign, text, onclick, className = "button button--small push") {
  return make("button", { type: "button", class: className, onclick }, sign && smallIcon(sign), text);
}

function foot(...parts) {
  return make("footer", { class: "message__foot" }, ...parts);
}

function state(kind, sign, text) {
  return make("span", { class: `state state--${kind}` }, smallIcon(sign), text);
}

/** Under an answer that has ended; null for what has no foot. context: see MessageView. */
export function endedFoot(message, { actions, canWrite, conversation }) {
  if (message.role !== "bot" || message.deleted || message.status === "queued") return null;
  const again = () => actions.again(message.id);
  const full = canWrite() && button("retry", say("answer.again"), again);
  if (message.status === "stopped") {
    if (message.error) return foot(state("fault", "warning", words.error(message.error)), full); // by the server: a budget
    const name = conversation().members.get(message.stoppedBy)?.name;
    return foot(state("wait", "stop", name ? say("answer.stoppedBy", { name }) : say("answer.stopped")), full);
  }
  if (message.status === "failed") {
    return foot(state("fault", "warning", message.error ? words.error(message.error) : say("answer.failed")), full);
  }
  return foot(
    tool("copy", say("message.copy"), () => actions.copy(message)),
    canWrite() && tool("retry", say("answer.again"), again),
    message.model && make("span", {}, message.model),
    message.usage && make("span", {}, say("answer.tokens", { n: message.usage.outputTokens })),
    message.versions > 1 && make("span", { class: "push" }, say("answer.version", { n: message.versions })),
  );
}

/** Under an answer that runs. One's own is stopped in the composer. */
export function runningFoot(message, seconds, { actions, canWrite, conversation, me }) {
  const mine = conversation().get(message.replyTo)?.userId === me.id;
  return foot(seconds, !mine && canWrite() && button("stop", say("answer.stop"), () => actions.stop(message.id)));
}

/** Under a send that the server refused. */
export function failedFoot(pending, { actions }) {
  return foot(
    button("retry", say("message.sendAgain"), () => actions.retry(pending.clientId), "button button--small"),
    button(null, say("message.drop"), () => actions.drop(pending), "button button--bare button--small"),
    make("span", {}, words.error(pending.error)),
  );
}

/** A link to a message in any room. */
function toMessage({ roomId, messageId }, className, { actions }, ...inside) {
  const go = (event) => {
    event.preventDefault();
    actions.goTo(roomId, messageId);
  };
  return make("a", { class: className, href: `/r/${roomId}`, onclick: go }, ...inside);
}

export function cite(source, number, context) {
  return toMessage(source, "cite", context, number);
}

/** The messages that an answer drew on, numbered as it cites them. */
export function sourcesOf(message, context) {
  if (!message.sources?.length) return null;
  const links = message.sources.map((source, index) => {
    const known = context.conversation().get(source.messageId);
    const text = known ? known.text.slice(0, 120) : say("answer.source");
    const number = make("span", { class: "cite" }, String(index + 1));
    return toMessage(source, "source", context, number, make("b", {}, known?.userName ?? ""), make("span", {}, text));
  });
  return make("div", { class: "sources" }, make("p", { class: "sources__title" }, say("answer.sources")), ...links);
}
