// One's own account, in a dialog over the page (on a phone: in place of it): me, devices, keys, usage, data.

import { dataPart } from "./account_data.js";
import { devicesPart } from "./account_devices.js";
import { keysPart } from "./account_keys.js";
import { mePart } from "./account_me.js";
import { usagePart } from "./account_usage.js";
import { open } from "./dialogs.js";
import { make, tool } from "./dom.js";
import { choice } from "./fields.js";
import { say } from "./i18n.js";

const PARTS = { me: mePart, devices: devicesPart, keys: keysPart, usage: usagePart, data: dataPart };

/** actions: me, renamed(name), leaving(yes) before the account goes, and when it stays after all,
 * left() once it is gone. */
export function showAccount(actions) {
  if (document.querySelector(".account")) return;
  const body = make("div", { class: "account__body" });
  const show = (part) => {
    body.children[1]?.remove();
    body.append(PARTS[part](actions));
  };
  const choices = Object.keys(PARTS).map((part) => [part, say(`account.${part}`)]);
  const close = tool("close", say("panel.close"), () => dialog.close(), { small: false });
  const dialog = make(
    "dialog",
    { class: "dialog account", "aria-labelledby": "account-title" },
    make("header", { class: "panel__top" }, make("h2", { id: "account-title" }, say("account.title")), close),
    body,
  );
  body.append(choice("account", say("account.parts"), choices, "me", show));
  show("me");
  open(dialog, { easy: false }); // a key that is shown once should not go with a stray press
  dialog.querySelector("input[name=account]").focus();
}
