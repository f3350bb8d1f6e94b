// Asking before messages go because they are kept for a shorter time.

import { confirm } from "./dialogs.js";
import { say } from "./i18n.js";

/** Keeping for a shorter time deletes: that is asked for. */
export async function mayKeep(wanted, before) {
  if (wanted === null || (before && wanted >= before)) return true;
  const title = say("roomPart.keptTitle", { n: wanted });
  return confirm({ title, text: say("roomPart.keptText"), yes: say("roomPart.keptYes") });
}
