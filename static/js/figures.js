// Figures for people: money, large numbers, seconds, shares, days. No DOM.

import { words } from "./i18n.js";

const formats = new Map();

function format(options) {
  const key = `${words.language} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(words.language, options));
  return formats.get(key);
}

/** With as many decimals as a small sum needs: cents of cents are what answers cost. digits: for a column of them, where
 * all have the same. */
export function money(value, currency = "USD", digits = value !== 0 && Math.abs(value) < 1 ? 4 : 2) {
  const options = { style: "currency", currency, currencyDisplay: "narrowSymbol" };
  try {
    return format({ ...options, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  } catch {
    return `${words.number(value)} ${currency}`; // a currency that the browser has no name for
  }
}

/** A large number short, its unit apart: ["4.18", "M"], ["418", "만"]; below ten thousand as it is. */
export function compact(value) {
  if (value < 10_000) return [words.number(value), ""];
  const parts = format({ notation: "compact", maximumSignificantDigits: 3 }).formatToParts(value);
  const unit = parts.find(({ type }) => type === "compact")?.value ?? "";
  return [
    parts
      .filter(({ type }) => type !== "compact")
      .map(({ value: text }) => text)
      .join("")
      .trim(),
    unit,
  ];
}

export const short = (value) => compact(value).join("");

/** Milliseconds as seconds with two decimals. */
export function seconds(ms) {
  return format({ minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(ms / 1000);
}

/** "42%"; what is there but small is told so. */
export function share(part, whole) {
  if (!whole) return "0%";
  const percent = (part / whole) * 100;
  return percent > 0 && percent < 1 ? "<1%" : `${Math.round(percent)}%`;
}

/** When a bucket begins: as a sentence says it, as an axis does, and shorter, where what is over both (a month) was told.
 * isHours: buckets of an hour, else of a day. */
export function bucketNames(at, isHours, timeZone) {
  const day = dates({ month: "short", day: "numeric" }, timeZone).format(at);
  const hour = dates({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, timeZone).format(at);
  if (isHours) return { whole: `${day} ${hour}`, axis: hour, brief: hour, over: "" };
  const over = dates({ month: "short" }, timeZone).format(at);
  return { whole: day, axis: day, brief: dates({ day: "numeric" }, timeZone).format(at), over };
}

function dates(options, timeZone) {
  const key = `${words.language} ${timeZone} ${JSON.stringify(options)}`;
  if (!formats.has(key)) {
    try {
      formats.set(key, new Intl.DateTimeFormat(words.language, { ...options, timeZone }));
    } catch {
      formats.set(key, new Intl.DateTimeFormat(words.language, options)); // a zone that the browser does not know
    }
  }
  return formats.get(key);
}

/** Day and time, short. */
export function moment(text) {
  const options = {
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  };
  return dates(options).format(new Date(text));
}

export function day(text) {
  return dates({ year: "numeric", month: "numeric", day: "numeric" }).format(new Date(text));
}

/** Noon of a day in a zone, as the server takes times: it counts whole days, and noon is on that day for sure. */
export function noonOf(day, timeZone) {
  const guess = new Date(`${day}T12:00:00Z`);
  const options = {
    hour: "2-digit",
    minute: "2-digit",
    day: "2-digit",
    month: "2-digit",
    year: "numeric",
    hourCycle: "h23",
  };
  let there;
  try {
    there = new Intl.DateTimeFormat("sv", { ...options, timeZone }).format(guess);
  } catch {
    return guess.toISOString();
  }
  const ahead = Date.parse(`${there.replace(" ", "T")}:00Z`) - guess.getTime();
  return new Date(guess.getTime() - ahead).toISOString();
}

/** A day, so many days before `now`, in the server's zone. */
export function dayBefore(days, now, timeZone) {
  const at = new Date(now.getTime() - days * 86_400_000);
  let zone;
  try {
    zone = new Intl.DateTimeFormat("sv", { timeZone });
  } catch {
    zone = new Intl.DateTimeFormat("sv");
  }
  return zone.format(at); // Swedish dates are ISO dates
}
