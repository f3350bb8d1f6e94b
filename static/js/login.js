// Signing in and making an account, on one page. The server sets the HttpOnly cookie; nothing is kept here.

import { api } from "./api.js";
import { submitting } from "./gate.js";

const forms = document.querySelector(".gate__forms");
const login = document.getElementById("login");
const register = document.getElementById("register");
const code = new URLSearchParams(location.search).get("invite") ?? "";

function show() {
  const wanted = location.hash.slice(1) || forms.dataset.first;
  const form = wanted === "login" || !register ? login : register;
  for (const one of [login, register]) if (one) one.hidden = one !== form;
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
