"""Words as search knows them: a text becomes counted terms, a query becomes weighted ones. Pure; knows no rows.

Korean needs no dictionary here. A run of Hangul gives its syllables and pairs of syllables, which find compounds and
words behind particles; the initial consonants of each pair, so that ㅎㄱ finds 한국; and a query's last syllable also
stands for what it may be the beginning of. English gives snowball stems; identifiers their parts and the whole.
Dates, however written, give the same terms as the time at which a message was said.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import Stemmer

# A term's number: sparsevec counts from 1 to 10**9.
TERM_NUMBERS = 999_999_999
# Longer texts are searched by their first so many different terms; sparsevec takes 16,000.
TERMS_MOST = 12_000
WORD_MOST = 64
ASKED_MOST = 2_000

CHO = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
# The consonants below a syllable, as initials of the next one that a person has begun to type: 간 may become 가나.
JONG = ("", "ㄱ", "ㄲ", "ㄱㅅ", "ㄴ", "ㄴㅈ", "ㄴㅎ", "ㄷ", "ㄹ", "ㄹㄱ", "ㄹㅁ", "ㄹㅂ", "ㄹㅅ", "ㄹㅌ", "ㄹㅍ", "ㄹㅎ",
        "ㅁ", "ㅂ", "ㅂㅅ", "ㅅ", "ㅆ", "ㅇ", "ㅈ", "ㅊ", "ㅋ", "ㅌ", "ㅍ", "ㅎ")  # fmt: skip
FIRST, LAST = 0xAC00, 0xD7A3

MONTHS = {
    name: number
    for number, names in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sept sep", "october oct", "november nov", "december dec"), 1
    )
    for name in names.split()
}  # fmt: skip
MONTH = "(?P<{0}>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")(?![a-z])\.?"
DATES = re.compile(
    r"(?P<y1>\d{4})[-./](?P<m1>\d{1,2})(?:[-./](?P<d1>\d{1,2}))?(?![\d.])"
    r"|(?:(?P<y2>\d{4})년\s*)?(?P<m2>\d{1,2})월(?:\s*(?P<d2>\d{1,2})일)?"
    r"|\b" + MONTH.format("m3") + r"\s+(?P<d3>\d{1,2})(?:st|nd|rd|th)?\b(?:,?\s+(?P<y3>\d{4}))?"
    r"|\b(?P<d4>\d{1,2})(?:st|nd|rd|th)?(?:\s+of)?\s+" + MONTH.format("m4") + r"(?:,?\s+(?P<y4>\d{4}))?"
    r"|\b" + MONTH.format("m5") + r",?\s+(?P<y5>\d{4})\b"
    r"|(?<![\d/.])(?P<m6>\d{1,2})/(?P<d6>\d{1,2})(?![\d/])",
    re.IGNORECASE,
)

HANGUL = "가-힣"
JAMO = "ㄱ-ㅎ"
IDEOGRAMS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
LETTER = rf"[^\W\d_{HANGUL}\u3131-\u318e{IDEOGRAMS}]"
ALNUM = rf"[^\W_{HANGUL}\u3131-\u318e{IDEOGRAMS}]"
TOKEN = re.compile(
    rf"(?P<hangul>[{HANGUL}]+)"
    rf"|(?P<jamo>[{JAMO}]+)"
    rf"|(?P<ideograms>[{IDEOGRAMS}]+)"
    r"|(?P<number>(?<![\d,])\d{1,3}(?:,\d{3}){1,8}(?:\.\d+)?(?![\d,]))"
    rf"|(?P<word>(?:{ALNUM}|_)+(?:(?:[._:/@#-]|::|->)(?:{ALNUM}|_)+)*(?:\+\+|\#(?!\w))?)"
    r"|(?P<symbol>[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff])"
)
PLAIN = re.compile(rf"{LETTER}+")
PART = re.compile(rf"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|{LETTER}+")
QUOTED = re.compile(r'["“”]([^"“”]+)["“”]')

# Said in nearly every question, and by themselves no reason to find anything.
STOP = frozenset(
    """a an the and or of to in on at for by with from as is are was were be been am do does did has have had will would
    can could should i you he she it we they me him her them us my your his its our their this that these those what
    which who whom whose when where why how there here not no if so than then about into s t""".split()  # noqa: SIM905
)
STOP_SHARE = 0.3

SYLLABLE_SHARE = 1.4
INITIALS_SHARE = 0.6
VARIANT_SHARE = 0.6
LESS_EXACT_SHARE = 0.4
MATCHERS_MOST = 100
# Longer words are looked for by their beginning: a pattern of thousands of letters takes a time that is their product.
PATTERN_MOST = 64
RUN_MOST = 500


class Document(NamedTuple):
    """counts: term number -> how often. length: in words and syllables. words: Latin stems, to mend typos by."""

    counts: dict[int, int]
    length: int
    words: set[str]


class Variant(NamedTuple):
    """A term that stands in for another where that one is rare or unknown."""

    term: str
    share: float


class Query(NamedTuple):
    """terms: term -> weight of its kind. variants: by the term that they stand in for. phrases: must all be there.

    matchers: one pattern a word as it was typed, with the terms of that word.
    """

    terms: dict[str, float]
    variants: dict[str, list[Variant]]
    words: list[str]
    phrases: list[str]
    matchers: list[tuple[re.Pattern[str], list[str]]]

    def match(self, pattern: "re.Pattern[str]", terms: list[str]) -> None:
        if len(self.matchers) < MATCHERS_MOST and all(pattern.pattern != known.pattern for known, _ in self.matchers):
            self.matchers.append((pattern, terms))


@lru_cache(1 << 17)
def number(term: str) -> int:
    return zlib.crc32(term.encode()) % TERM_NUMBERS + 1


@lru_cache(1 << 16)
def stem(word: str) -> str:
    """Of a lower-case word, without accents. A stemmer of its own, since one is not for two threads at once."""
    if not word.isascii():
        word = "".join(char for char in unicodedata.normalize("NFD", word) if not unicodedata.combining(char))
    return Stemmer.Stemmer("english").stemWord(word) if len(word) < WORD_MOST else word[:WORD_MOST]


def normalized(text: str) -> str:
    return text if text.isascii() or unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def document(text: str, name: str = "", at: datetime | None = None) -> Document:
    """at: in the zone in which people will ask for it."""
    found: Counter[str] = Counter()
    words: set[str] = set()
    length = 0
    for part, single in ((name, False), (normalized(text), True)):
        for kind, token, match in tokens(part):
            length += _count(kind, token, found, words, single=single)
            if kind in ("number", "word") and (following := _unit(part, match)):
                found[token + following] += 1
        for date in dates(part):
            found[date] += 1
    if at is not None:
        found.update(_said_at(at))
    counts: dict[int, int] = {}
    for term, count in found.items():
        if len(counts) >= TERMS_MOST:
            break
        key = number(term)
        counts[key] = counts.get(key, 0) + count
    return Document(counts, length, words)


def tokens(text: str) -> Iterator[tuple[str, str, "re.Match[str]"]]:
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or ""
        yield kind, match.group(), match


def _count(kind: str, token: str, found: Counter[str], words: set[str], *, single: bool) -> int:
    """single: also each syllable; of a name only the whole, or its syllables would find all that its bearer said."""
    if kind in ("hangul", "ideograms"):
        if single or len(token) == 1:
            found.update(token)
        found.update(map("".join, pairwise(token)))
        if kind == "hangul" and len(token) > 1:
            initials = "".join(CHO[(ord(char) - FIRST) // 588] for char in token)
            found.update(set(map("".join, pairwise(initials))))
            found["^" + initials[:2]] += 1
        return len(token)
    if kind == "jamo":
        found.update(set(map("".join, pairwise(token))) or {token})
        return 1
    if kind == "symbol":
        found[token] += 1
        return 1
    terms = list(word_terms(token))
    found.update(terms)
    for term in terms:
        if 4 <= len(term) <= 24 and term.isalpha():
            words.add(term)
    return 1


def word_terms(token: str) -> Iterator[str]:
    """Of what is neither Hangul nor a symbol: a plain word's stem; of anything else the whole and its parts."""
    if PLAIN.fullmatch(token) and not _humps(token):
        yield stem(token.lower())
        return
    lowered = token.lower()
    if lowered.replace(",", "").replace(".", "", 1).isdigit():
        yield lowered.replace(",", "")
        return
    parts = [part.lower() for part in PART.findall(token)]
    whole = lowered.strip("_")
    # One word however it is joined, unless numbers would run together: real-time, real_time, realTime, realtime.
    if not whole[:1].isdigit():
        joined = re.sub(r"[\W_]+", "", whole)
        whole = whole if whole[-1:] in "+#" else joined
    if not whole:
        return
    yield stem(whole) if whole.isalpha() else whole[:WORD_MOST]
    if len(parts) > 1 or parts[:1] != [whole]:
        for part in dict.fromkeys(parts):
            if part != whole and (len(part) > 1 or part.isdigit()):
                yield stem(part)


def _humps(token: str) -> bool:
    return not token.islower() and not token.isupper() and not token.istitle()


def _unit(text: str, match: "re.Match[str]") -> str:
    """The syllable right behind a number: 3시 and 3분 are not the same."""
    end = match.end()
    return text[end] if end < len(text) and FIRST <= ord(text[end]) <= LAST and text[end - 1].isdigit() else ""


def dates(text: str) -> Iterator[str]:
    """Terms of the days and months that a text names."""
    if not any(char.isdigit() for char in text):
        return
    for match in DATES.finditer(text):
        given = {name[0]: value for name, value in match.groupdict().items() if value}
        # Ignoring case, `ſ` passes for an s and `İ` for an i: a month for the pattern, and for nobody else.
        month = MONTHS.get(given["m"].lower()) or (int(given["m"]) if given["m"].isdecimal() else 0)
        day = int(given.get("d", 1))
        if not (1 <= month <= 12 and 1 <= day <= 31):
            continue
        if "d" in given:
            yield f"t:{month:02}-{day:02}"
        if "y" in given:
            yield f"t:{given['y']}-{month:02}" + (f"-{day:02}" if "d" in given else "")
        if "d" not in given and "y" not in given:
            yield f"t:{month:02}"


def _said_at(at: datetime) -> Iterable[str]:
    return (f"t:{at:%m-%d}", f"t:{at:%Y-%m-%d}", f"t:{at:%Y-%m}", f"t:{at:%m}")


# -- queries


def query(text: str) -> Query:
    """What a person typed: words in any order, "phrases" in quotes."""
    text = normalized(text)
    phrases = [" ".join(phrase.split()) for phrase in QUOTED.findall(text)]
    asked = Query({}, {}, [], [phrase for phrase in phrases if phrase], [])
    plain = text.replace('"', " ").replace("“", " ").replace("”", " ")
    covered: list[tuple[int, int]] = []
    for match in DATES.finditer(plain):
        found = list(dates(match.group()))
        if found:
            covered.append(match.span())
            found.sort(key=len, reverse=True)
            for place, date in enumerate(found):
                asked.terms[date] = 1.0 if place == 0 else LESS_EXACT_SHARE
            asked.match(_literally(match.group()), found[:1])
    found_tokens = list(tokens(plain))
    for place, (kind, token, match) in enumerate(found_tokens):
        if len(asked.terms) >= ASKED_MOST:
            break
        inside = any(start <= match.start() < end for start, end in covered)
        follows = found_tokens[place + 1] if place + 1 < len(found_tokens) else None
        if kind == "hangul":
            begun = follows[1] if follows and follows[0] == "jamo" and follows[2].start() == match.end() else ""
            _ask_hangul(asked, token, begun, 0.3 if inside else 1.0)
        elif kind == "ideograms":
            _ask_run(asked, token)
            asked.match(_literally(token), [token])
        elif kind == "jamo":
            before = found_tokens[place - 1] if place else None
            if before is None or before[0] != "hangul" or before[2].end() != match.start():
                _ask_initials(asked, token)
        elif kind == "symbol":
            asked.terms[token] = 1.0
            asked.match(_literally(token), [token])
        else:
            _ask_word(asked, token, _unit(plain, match), 0.3 if inside else 1.0)
    return asked


def _ask_word(asked: Query, token: str, unit: str, share: float) -> None:
    terms = list(word_terms(token))
    for place, term in enumerate(terms):
        weight = share * (STOP_SHARE if token.lower() in STOP else 1.0) * (0.5 if place else 1.0)
        asked.terms[term] = max(asked.terms.get(term, 0.0), weight)
        if 4 <= len(term) <= 24 and term.isalpha():
            asked.words.append(term)
    if unit:
        asked.terms[token + unit] = share
        terms.append(token + unit)
    lowered = token.lower()[:PATTERN_MOST]
    head = terms[0] if terms and lowered.startswith(terms[0]) and terms[0].isalpha() and len(terms[0]) > 2 else lowered
    tail = r"\w*" if head.isalpha() and head.isascii() else ""
    start = r"(?<![^\W_])" if lowered[:1].isalnum() else ""
    asked.match(re.compile(start + escaped(head) + tail, re.IGNORECASE), terms)


def _ask_run(asked: Query, token: str) -> None:
    token = token[:RUN_MOST]
    for char in token:
        asked.terms[char] = SYLLABLE_SHARE if len(token) > 1 else 1.0
    for pair in map("".join, pairwise(token)):
        asked.terms[pair] = 1.0


def _ask_hangul(asked: Query, token: str, begun: str, share: float) -> None:
    """begun: initials typed right behind it, of syllables that are not there yet."""
    if len(token) > RUN_MOST:
        token, begun = token[:RUN_MOST], ""
    for char in token:
        weight = (SYLLABLE_SHARE if len(token) > 1 else 1.0) * share
        asked.terms[char] = max(asked.terms.get(char, 0.0), weight)
    for pair in map("".join, pairwise(token)):
        asked.terms[pair] = max(asked.terms.get(pair, 0.0), share)
    last, before = token[-1], token[-2:-1]
    initial, _, final = split(last)
    pattern = escaped(token[:-1]) + _may_become(last)
    if begun:
        known = begun if all(char in CHO for char in begun) else ""
        for pair in map("".join, zip(CHO[initial] + known, known, strict=False)):
            asked.terms[pair] = INITIALS_SHARE
        pattern = escaped(token) + "".join(map(_any_of, known))
    elif share < 1.0:
        pass  # part of a date
    elif before and not final:
        asked.variants[before + last] = [Variant(before + chr(ord(last) + n), VARIANT_SHARE) for n in range(1, 28)]
    elif not final:
        asked.variants[last] = [Variant(chr(ord(last) + n), VARIANT_SHARE) for n in range(1, 28)]
    else:
        # The consonant below may be the next syllable's first.
        open_ = chr(ord(last) - final)
        kept, next_initial = (JONG[final][:-1], JONG[final][-1]) if len(JONG[final]) > 1 else ("", JONG[final])
        base = chr(ord(open_) + (JONG.index(kept) if kept else 0))
        variants = [Variant(CHO[initial] + next_initial, INITIALS_SHARE)]
        if before:
            variants.append(Variant(before + base, VARIANT_SHARE))
        asked.variants[before + last] = variants
    if len(token) > PATTERN_MOST:
        pattern = escaped(token[:PATTERN_MOST])
    asked.match(re.compile(pattern), list(map("".join, pairwise(token[:PATTERN_MOST]))) or [token])


def _ask_initials(asked: Query, token: str) -> None:
    initials = "".join(char for char in token if char in CHO)[:PATTERN_MOST]
    pairs = list(map("".join, pairwise(initials)))
    for pair in pairs:
        asked.terms[pair] = 1.0
    if pairs:
        asked.terms["^" + pairs[0]] = 1.0
        asked.match(re.compile("".join(map(_any_of, initials))), pairs)


def split(syllable: str) -> tuple[int, int, int]:
    """(initial, vowel, final) as numbers."""
    code = ord(syllable) - FIRST
    return code // 588, code % 588 // 28, code % 28


def _any_of(initial: str) -> str:
    return f"[{_range_of(initial)}{initial}]"


def _range_of(initial: str) -> str:
    first = FIRST + CHO.index(initial) * 588
    return f"{chr(first)}-{chr(first + 587)}"


def _may_become(syllable: str) -> str:
    """A pattern for what somebody is typing who has come as far as this syllable."""
    final = split(syllable)[2]
    if not final:
        return f"[{syllable}-{chr(ord(syllable) + 27)}]"
    open_ = chr(ord(syllable) - final)
    kept, initial = (JONG[final][:-1], JONG[final][-1]) if len(JONG[final]) > 1 else ("", JONG[final])
    base = chr(ord(open_) + (JONG.index(kept) if kept else 0))
    return f"(?:{syllable}|{base}{_any_of(initial)})" if initial in CHO else syllable


def beginning(word: str) -> "re.Pattern[str]":
    return re.compile(r"(?<![^\W_])" + escaped(word) + r"\w*", re.IGNORECASE)


def _literally(text: str) -> "re.Pattern[str]":
    return re.compile(r"\s+".join(map(escaped, text[: 4 * PATTERN_MOST].split())), re.IGNORECASE)


def probes(asked: Query) -> list[str]:
    """Patterns that Postgres understands too, ignoring case: a text without any of them is no answer."""
    found: dict[str, None] = {}
    for term in asked.terms:
        if term.startswith(("t:", "^")):
            continue
        if term[0] in CHO:
            found["".join(f"[{_range_of(initial)}{initial}]" for initial in term)] = None
        elif term.isdigit() and len(term) > 3:
            found[",?".join(term)] = None
        elif len(term) > 1 or asked.terms[term] == 1.0 or not FIRST <= ord(term) <= LAST:
            # A stem may end otherwise than its words do; what is joined may have been written apart.
            found[escaped(term[:-1] if term.isalpha() and term.isascii() and len(term) > 3 else term)] = None
    for pattern, _ in asked.matchers:
        if "(?<" not in pattern.pattern:
            found[pattern.pattern] = None
        else:
            found[pattern.pattern.removeprefix(r"(?<![^\W_])").removesuffix(r"\w*")] = None
    return [*found]


def escaped(text: str) -> str:
    """`text` in a regular expression, for Python and Postgres alike."""
    return "".join(char if char.isalnum() or not char.isascii() else "\\" + char for char in text)


# -- typos


def deletions(word: str, depth: int = 1) -> set[str]:
    """The word, and what is left of it without up to `depth` letters: words within a typo of each other share one."""
    found = {word}
    edge = {word}
    for _ in range(depth):
        edge = {one[:i] + one[i + 1 :] for one in edge for i in range(len(one))}
        found |= edge
    return found


def distance(a: str, b: str) -> int:
    """Letters added, left out, changed or swapped with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, above, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if above and i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


# -- highlights


def spans(asked: Query, text: str) -> list[tuple[int, int]]:
    """Where a text has what was asked for: code points, in order, without overlap."""
    found: list[tuple[int, int]] = []
    for pattern, terms in asked.matchers:
        here = [match.span() for match in pattern.finditer(text) if match.end() > match.start()]
        if not here:
            here = [match.span() for term in terms if len(term) > 1 for match in re.finditer(escaped(term), text)]
        found += here
    for phrase in asked.phrases:
        found += [match.span() for match in _literally(phrase).finditer(text)]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
