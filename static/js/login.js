// Signing in, making an account, and choosing a new password by a link, on one page. The server sets the HttpOnly cookie; nothing is kept here.

import { api } from "./api.js";
import { submitting } from "./gate.js";

const forms = document.querySelector(".gate__forms");
const login = document.getElementById("login");
const register = document.getElementById("register");
const code = new URLSearchParams(location.search).get("invite") ?? "";

const reset = document.getElementById("reset");
const asked = location.hash.slice(1);
const elsewhere = /^(login|register|invite|reset=.*)?$/.test(asked) ? "" : `#${asked}`; // of the page behind this one
let token = "";

function show() {
  // The link is a secret: it stays neither in the address nor in the history.
  if (location.hash.startsWith("#reset=")) {
    token = location.hash.slice("#reset=".length);
    history.replaceState(null, "", location.pathname + location.search);
  }
  const wanted = location.hash.slice(1) || (token ? "reset" : forms.dataset.first);
  const isNew =
    register && (["register", "invite"].includes(wanted) || (forms.dataset.first === "register" && wanted !== "login"));
  const form = wanted === "reset" ? reset : isNew ? register : login;
  for (const one of [login, register, reset]) if (one) one.hidden = one !== form;
  if (register && (wanted === "invite" || code)) {
    register.querySelector("[data-invite]").hidden = false;
    register.elements.invite.value ||= code;
  }
  form.querySelector("input:not([value])").focus();
}

login.addEventListener("submit", (event) => {
  event.preventDefault();
  submitting(login, async () => {
    const { email, password } = login.elements;
    await api.post("/auth/login", { email: email.value, password: password.value });
    location.assign(forms.dataset.next + elsewhere);
  });
});

reset.addEventListener("submit", (event) => {
  event.preventDefault();
  submitting(reset, async () => {
    await api.post("/auth/reset", { token, password: reset.elements.password.value });
    location.assign(forms.dataset.next);
  });
});

register?.addEventListener("submit", (event) => {
  event.preventDefault();
  submitting(register, async () => {
    const { email, name, password, invite, setupCode } = register.elements;
    const body = { email: email.value, name: name.value, password: password.value };
    if (invite.value.trim()) body.invite = invite.value.trim();
    if (setupCode) body.setupCode = setupCode.value.trim();
    await api.post("/auth/register", body);
    location.assign(body.invite ? await roomOf(body.invite) : forms.dataset.next);
  });
});

/** Registering with an invitation has entered its room: asking again names it. */
async function roomOf(invite) {
  try {
    const room = await api.post(`/invites/${encodeURIComponent(invite)}`);
    return `/r/${room.id}`;
  } catch {
    return "/";
  }
}

addEventListener("hashchange", show);
show();
