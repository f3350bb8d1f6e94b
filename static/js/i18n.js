// Words, numbers and dates for people, in the page's language. No DOM beyond <html lang>.

import en from "./words/en.js";
import ko from "./words/ko.js";

const AGO = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

export class Words {
  #words;
  #plural;
  #formats = new Map();

  constructor(language) {
    this.language = language;
    this.#words = language === "ko" ? ko : en;
    this.#plural = new Intl.PluralRules(language);
  }

  /** Words of a page of its own, which others need not load. */
  learn(catalogues) {
    this.#words = { ...this.#words, ...catalogues[this.language] };
  }

  /** Is there a sentence of that name? */
  has(key) {
    return key in this.#words;
  }

  /** The sentence `key` with its {holes} filled; `values.n` chooses among plural forms. */
  say(key, values = {}) {
    let text = this.#words[key];
    if (typeof text === "object") text = text[this.#plural.select(values.n)] ?? text.other;
    if (text === undefined) throw new Error(`No words for ${key}`);
    const filled = text.replace(/\{(\w+)\}/g, (_, name) => {
      const value = values[name];
      return typeof value === "number" ? this.number(value) : String(value);
    });
    return this.language === "ko" ? particles(filled) : filled;
  }

  /** What went wrong, by the code of an error reply or problem. */
  error(error) {
    const seconds = Math.ceil((error.retryAfterMs ?? 1000) / 1000);
    const key = `error.${error.code}`;
    if (key in this.#words) return this.say(key, { s: seconds });
    if (error.field && `error.${error.field}` in this.#words) return this.say(`error.${error.field}`);
    return error.field ? this.say("error.field", { field: error.field }) : this.say("error.other");
  }

  number(value) {
    return this.#format("number", () => new Intl.NumberFormat(this.language)).format(value);
  }

  time(date) {
    return this.#format("time", () => this.#dates({ hour: "numeric", minute: "2-digit" })).format(date);
  }

  shortTime(date) {
    const options = { hour: "numeric", minute: "2-digit", hourCycle: "h23" };
    return this.#format("shortTime", () => this.#dates(options)).format(date);
  }

  day(date, today) {
    const options = { month: "long", day: "numeric", weekday: "long" };
    const far = date.getFullYear() !== today.getFullYear();
    const format = far
      ? this.#format("far", () => this.#dates({ ...options, year: "numeric" }))
      : this.#format("day", () => this.#dates(options));
    const text = format.format(date);
    return sameDay(date, today) ? this.say("day.today", { day: text }) : text;
  }

  date(date) {
    return this.#format("date", () => this.#dates({ month: "long", day: "numeric" })).format(date);
  }

  /** With its year. */
  fullDate(date) {
    const options = { year: "numeric", month: "long", day: "numeric" };
    return this.#format("fullDate", () => this.#dates(options)).format(date);
  }

  /** How long ago, in the largest unit that fits: "now", "3 hours ago", "yesterday". */
  ago(date, now) {
    const seconds = Math.max(0, (now - date) / 1000);
    const [unit, length] = AGO.find(([, length]) => seconds >= length) ?? ["second", Infinity];
    return this.#relative().format(-Math.floor(seconds / length), unit);
  }

  /** "Ada, Ben and Cho". */
  list(names) {
    return this.#format("list", () => new Intl.ListFormat(this.language, { type: "conjunction" })).format(names);
  }

  #relative() {
    return this.#format("ago", () => new Intl.RelativeTimeFormat(this.language, { numeric: "auto" }));
  }

  /** For a list: the time today, "yesterday", a weekday, else the date; short. */
  when(date, today) {
    if (sameDay(date, today)) return this.shortTime(date);
    const days = Math.round((midnight(today) - midnight(date)) / 86_400_000);
    if (days === 1) return this.#relative().format(-1, "day");
    if (days < 7) return this.#format("weekday", () => this.#dates({ weekday: "short" })).format(date);
    return this.#format("numeric", () => this.#dates({ month: "numeric", day: "numeric" })).format(date);
  }

  #dates(options) {
    return new Intl.DateTimeFormat(this.language, options);
  }

  #format(name, make) {
    if (!this.#formats.has(name)) this.#formats.set(name, make());
    return this.#formats.get(name);
  }
}

export function sameDay(a, b) {
  return a.toDateString() === b.toDateString();
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

const PARTICLES = {
  "이(가)": ["이", "가"],
  "을(를)": ["을", "를"],
  "은(는)": ["은", "는"],
  "(으)로": ["으로", "로"],
  "(이)": ["이", ""],
};

/** Korean particles after a name that was filled in: `마루이(가)` becomes `마루가`, `지은이(가)` `지은이`. */
export function particles(text) {
  return text.replace(/(.)(이\(가\)|을\(를\)|은\(는\)|\(으\)로|\(이\))/gu, (_, before, particle) => {
    const [closed, open] = PARTICLES[particle];
    const end = finalConsonant(before);
    return before + (end === 0 || (end === RIEUL && particle === "(으)로") ? open : closed);
  });
}

const RIEUL = 8;

/** Index of the final consonant, 0 for none: exact for Hangul, a guess by sound for Latin letters and digits. */
function finalConsonant(character) {
  const code = character.codePointAt(0) - 0xac00;
  if (code >= 0 && code < 11172) return code % 28;
  if (/[lr178]/i.test(character)) return character.toLowerCase() === "r" ? 0 : RIEUL;
  return /[mnbkpct036]/i.test(character) ? 1 : 0;
}

export const words = new Words(globalThis.document?.documentElement.lang === "en" ? "en" : "ko");
export const say = words.say.bind(words);
