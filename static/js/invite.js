// The page of an invitation: one button that enters the room.

import { api } from "./api.js";
import { submitting } from "./gate.js";
import { say } from "./i18n.js";

const form = document.getElementById("invite");
const lead = form?.querySelector("[data-lead]");
if (lead) lead.textContent = say("invite.lead", { room: lead.dataset.lead });

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  submitting(form, async () => {
    const room = await api.post(`/invites/${encodeURIComponent(form.dataset.code)}`);
    location.assign(`/r/${room.id}`);
  });
});
