// Whom an unfinished @name in a text may mean. Pure. Hangul is compared letter by letter, so that 하 finds 한지수 while its
// syllable is still open, and ㅎㅈㅅ finds it by its initials.

const MOST = 40; // characters of a name that is being written
const MOST_FOUND = 8;
const BEFORE = /[\s([{"'“‘「]/;

const INITIALS = [..."ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"];
const VOWELS = ["ㅏ", "ㅐ", "ㅑ", "ㅒ", "ㅓ", "ㅔ", "ㅕ", "ㅖ", "ㅗ", "ㅗㅏ", "ㅗㅐ", "ㅗㅣ", "ㅛ", "ㅜ", "ㅜㅓ", "ㅜㅔ", "ㅜㅣ"].concat(
  ["ㅠ", "ㅡ", "ㅡㅣ", "ㅣ"],
);
const FINALS = ["", "ㄱ", "ㄲ", "ㄱㅅ", "ㄴ", "ㄴㅈ", "ㄴㅎ", "ㄷ", "ㄹ", "ㄹㄱ", "ㄹㅁ", "ㄹㅂ", "ㄹㅅ", "ㄹㅌ", "ㄹㅍ", "ㄹㅎ"].concat(
  ["ㅁ", "ㅂ", "ㅂㅅ", "ㅅ", "ㅆ", "ㅇ", "ㅈ", "ㅊ", "ㅋ", "ㅌ", "ㅍ", "ㅎ"],
);
const SYLLABLE = /[가-힣]/gu;
const COMPOUND = { ㅘ: "ㅗㅏ", ㅙ: "ㅗㅐ", ㅚ: "ㅗㅣ", ㅝ: "ㅜㅓ", ㅞ: "ㅜㅔ", ㅟ: "ㅜㅣ", ㅢ: "ㅡㅣ", ㄳ: "ㄱㅅ", ㄵ: "ㄴㅈ", ㄶ: "ㄴㅎ" };

/** Syllables taken apart into the letters that one types. */
export function letters(text) {
  return text
    .normalize("NFC")
    .toLowerCase()
    .replace(SYLLABLE, (syllable) => {
      const index = syllable.codePointAt(0) - 0xac00;
      return INITIALS[Math.floor(index / 588)] + VOWELS[Math.floor((index % 588) / 28)] + FINALS[index % 28];
    })
    .replace(/[ㅘ-ㅢㄳㄵㄶ]/gu, (letter) => COMPOUND[letter] ?? letter);
}

function initials(text) {
  return text.replace(SYLLABLE, (syllable) => INITIALS[Math.floor((syllable.codePointAt(0) - 0xac00) / 588)]);
}

/** The unfinished mention before the caret: {from, query} (from: where its @ stands), or null. */
export function mentionAt(text, caret) {
  const from = text.lastIndexOf("@", caret - 1);
  if (from < 0 || caret - from > MOST || (from > 0 && !BEFORE.test(text[from - 1]))) return null;
  const query = text.slice(from + 1, caret);
  return /\n|^\s/u.test(query) ? null : { from, query };
}

/** Those of `people` ({name}) whose name or a later word of it begins with `query`; the former first. */
export function found(people, query) {
  const wanted = letters(query);
  const byInitials = /^[ㄱ-ㅎ]+$/u.test(query);
  const rank = ({ name }) => {
    if (letters(name).startsWith(wanted) || (byInitials && initials(name).startsWith(query))) return 0;
    return letters(name).includes(` ${wanted}`) ? 1 : 2;
  };
  const isWritten = people.some(({ name }) => query.toLowerCase().startsWith(`${name.toLowerCase()} `));
  if (isWritten) return [];
  return people
    .map((person) => ({ person, rank: rank(person) }))
    .filter((one) => one.rank < 2)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MOST_FOUND)
    .map(({ person }) => person);
}
