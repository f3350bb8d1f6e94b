// Will the bot answer? Pure; mirrors the server's rule, so that the composer can tell before sending.

/** "will", "mention" (it would, if it were called) or "off". */
export function whoAnswers(bot, text, repliesToBot = false) {
  if (bot.when === "off") return "off";
  if (bot.when === "always" || repliesToBot) return "will";
  return text.toLowerCase().includes(`@${bot.name.toLowerCase()}`) ? "will" : "mention";
}
