"""How well a message answers a query: BM25, what stands beside it, whether it has the words as they were typed. Pure."""

import math
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import NamedTuple

from models.messages import MessageRow
from models.search import Entry, Totals
from services import terms

K1 = 1.2
B = 0.75
# An average length before there is one to speak of.
LENGTH, LENGTH_COUNTS = 30, 50
# How much rarer words count for more than BM25 would have it.
RARITY = 1.3
# The share of a neighbour's score that a message is given, by the steps to it; less, the better its own is. They sum up
# to 1: the message that answers best by itself stays first.
BESIDE = {-2: 0.2, -1: 0.4, 1: 0.3, 2: 0.1}
# What a text gains that has every word as it was typed.
AS_TYPED = 0.25
# A word this rare may be a slip of the finger.
RARE = 2
TYPO_SHARE = (1.0, 0.7, 0.4)


class Wanted(NamedTuple):
    """weights: term's number -> weight. rarest: the numbers that are in the index, rarest first, with how many have it.

    asked: the query, its mended words among the matchers. messages: in the whole index.
    """

    weights: dict[int, float]
    rarest: list[tuple[int, int]]
    asked: terms.Query
    messages: int


def entry(row: MessageRow, totals: Totals, zone: tzinfo) -> Entry:
    """A message as the index keeps it."""
    found = terms.document(row.content, row.user_name, row.created_at.astimezone(zone))
    average = (totals.length + LENGTH * LENGTH_COUNTS) / (totals.messages + LENGTH_COUNTS)
    norm = K1 * (1 - B + B * found.length / average)
    weights = {term: count * (K1 + 1) / (count + norm) for term, count in found.counts.items()}
    keys = [room_key(row.room_id)] + ([author_key(row.user_id)] if row.user_id else [])
    words = {terms.number(word): (word, [terms.number(one) for one in terms.deletions(word)]) for word in found.words}
    return Entry([*weights, *keys], weights, found.length, words)


def room_key(room_id: str) -> int:
    return terms.number("r:" + room_id)


def author_key(user_id: str) -> int:
    return terms.number("u:" + user_id)


def idf(messages: int, having: int) -> float:
    return math.log(1 + (max(messages, having) - having + 0.5) / (having + 0.5))


def numbers(asked: terms.Query) -> list[int]:
    """All that must be known of a query's terms before it can be weighed."""
    variants = (variant.term for some in asked.variants.values() for variant in some)
    return [terms.number(term) for term in [*asked.terms, *variants]]


def unknown_words(asked: terms.Query, having: Mapping[int, int]) -> list[str]:
    return [word for word in asked.words if having.get(terms.number(word), 0) <= RARE]


def mended(word: str, alike: Iterable[tuple[str, int]]) -> list[tuple[str, int, float]]:
    """(word, in how many messages, share) of the words that this one may have been meant to be."""
    most = 1 if len(word) < 5 else 2
    found = [(other, count, terms.distance(word, other)) for other, count in alike if other != word]
    near = sorted((steps, -count, other) for other, count, steps in found if steps <= most)
    return [(other, -count, TYPO_SHARE[steps]) for steps, count, other in near if steps == near[0][0]][:4]


def weigh(
    asked: terms.Query, totals: Totals, having: Mapping[int, int], instead: Mapping[str, list[tuple[str, int, float]]]
) -> Wanted:
    """instead: mended words by what was typed."""
    weights: dict[int, float] = {}
    counts: dict[int, int] = {}

    def want(term: str, share: float, count: int) -> None:
        key = terms.number(term)
        weights[key] = max(weights.get(key, 0.0), idf(totals.messages, count) ** RARITY * share)
        if count:
            counts[key] = count

    matchers = list(asked.matchers)
    for term, share in asked.terms.items():
        want(term, share, having.get(terms.number(term), 0))
    for term, variants in asked.variants.items():
        known = having.get(terms.number(term), 0)
        if known > RARE:
            continue
        for variant in variants:
            if count := having.get(terms.number(variant.term), 0):
                want(variant.term, variant.share, count)
    for word, others in instead.items():
        for other, count, share in others:
            want(other, share * asked.terms.get(word, 1.0), count)
            matchers.append((terms.beginning(other), [other]))
    rarest = sorted(((key, count) for key, count in counts.items()), key=lambda pair: pair[1])
    return Wanted(weights, rarest, asked._replace(matchers=matchers), totals.messages)


def score(weights: Mapping[int, float], of: Mapping[int, float]) -> float:
    return sum(weight * of[term] for term, weight in weights.items() if term in of)


def with_beside(own: Mapping[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    """Scores between 0 and 1 by place (room, seq), each with its neighbours' share: what `models.search.best` does to the
    words' scores."""
    return {
        (room, seq): score
        + (1 - score) * sum(share * own.get((room, seq + step), 0.0) for step, share in BESIDE.items())
        for (room, seq), score in own.items()
    }


def as_typed(wanted: Wanted, row: MessageRow) -> float:
    """The share of the query's weight in words that a text or its author's name has just as they were typed, 0 to 1."""
    text = f"{row.user_name}\n{row.content}"
    whole = had = 0.0
    for pattern, of in wanted.asked.matchers:
        weight = max((wanted.weights.get(terms.number(term), 0.0) for term in of), default=0.0)
        whole += weight
        if pattern.search(text):
            had += weight
    return had / whole if whole else 0.0
