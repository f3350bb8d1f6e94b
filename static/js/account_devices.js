// The account's devices: where one is signed in, ending that elsewhere, another password.

import { OwnList, entry } from "./account_list.js";
import { passwordForm } from "./account_password.js";
import { deviceOf } from "./device.js";
import { make } from "./dom.js";
import { saidLine } from "./fields.js";
import { say, words } from "./i18n.js";

export function devicesPart() {
  const said = saidLine();
  const list = new OwnList("/users/me/sessions", say("devices.title"), said, row);
  return make(
    "div",
    { class: "panel__part" },
    make("section", { class: "set" }, make("h3", {}, say("devices.title")), list.node, said.node),
    passwordForm(() => list.fill()),
  );
}

export function row({ userAgent, ip, lastSeenAt, current }, end) {
  const name = deviceOf(userAgent) || say("devices.unknown");
  const ago = words.ago(new Date(lastSeenAt), new Date());
  const seen = current ? say("devices.this") : say("devices.seen", { ago });
  const button =
    !current &&
    make(
      "button",
      {
        type: "button",
        class: "button button--small",
        "aria-label": say("devices.endOf", { device: name }),
        onclick: () => end(say("devices.ended")),
      },
      say("devices.end"),
    );
  const icon = /iPhone|iPad|Android/.test(name) ? "device" : "computer";
  return entry(icon, name, [seen, ip], button);
}
