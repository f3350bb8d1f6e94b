"""Words as search knows them."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import terms

ANY = st.text(max_size=300)


def known(text, **given):
    return set(terms.document(text, **given).counts)


def finds(query, text):
    """Whether all that a query's words stand for has something in the text."""
    return bool({terms.number(term) for term in terms.query(query).terms} & known(text))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("회의", "회의는 3시예요"), ("회의를", "회의가 있다"), ("은행", "중앙은행에서"), ("한", "한 번"), ("ㅎㄱ", "한국 사람"),
        ("running", "she runs"), ("HTTP_PROXY", "export HTTP_PROXY=1"), ("http proxy", "HTTP_PROXY"), ("foo.bar()", "x = foo.bar()"),
        ("realtime", "real-time"), ("real_time", "realTime"), ("C++", "C++ 코드"), ("C#", "C# code"), ("2026-09-01", "9월 1일에"),
        ("9월 1일", "on Sept 1st"), ("1 September", "09/01"), ("1234567", "₩1,234,567"), ("😀", "좋아요 😀"), ("東京", "東京へ"),
        ("café", "CAFE"), ("3시", "오후 3시에"), ("naïve", "naive"),
    ],
)  # fmt: skip
def test_a_word_finds_its_other_forms(query, text):
    assert finds(query, text), (query, text)


@pytest.mark.parametrize(("query", "text"), [("3시", "3분 남았다"), ("한국", "중국"), ("cat", "dog"), ("ㅎㄱ", "중국")])
def test_and_not_what_is_another_word(query, text):
    asked = terms.query(query)
    strong = {terms.number(term) for term in asked.terms if len(term) > 1 and not term.isdigit()}
    assert not strong & known(text)


def test_a_half_typed_syllable_stands_for_what_it_may_become():
    variants = {variant.term for some in terms.query("한구").variants.values() for variant in some}
    assert "한국" in variants
    variants = {variant.term for some in terms.query("간").variants.values() for variant in some}
    assert "ㄱㄴ" in variants  # 간 on the way to 가나


def test_what_was_said_on_a_day_is_found_by_it():
    at = datetime(2026, 9, 1, 9, tzinfo=UTC)
    assert finds("2026-09-01", "x") is False
    assert {terms.number(term) for term in terms.query("2026년 9월 1일").terms} & known("x", at=at)


@pytest.mark.parametrize("text", ["Auguſt 5", "aprİl 5", "5 ſept", "13월 40일", "99/99", "٣월 ٤일"])
def test_what_only_looks_like_a_date_is_none(text):
    terms.document(text)
    terms.query(text)


def test_typos_share_what_is_left_of_both():
    assert terms.deletions("recieve", 2) & terms.deletions("receive", 1)
    assert [terms.distance("recieve", "receive"), terms.distance("kubernets", "kubernetes")] == [1, 1]


@pytest.mark.parametrize(
    ("query", "text", "ranges"),
    [
        ("apple pie", "😀 Apple, apple pie", [(2, 7), (9, 14), (15, 18)]),
        ("회의", "내일 회의는", [(3, 5)]),
        ("ㅎㄱ", "여기는 한국", [(4, 6)]),
        ("한구", "한국", [(0, 2)]),
        ('"b c"', "a b  c", [(2, 6)]),
        ("run", "running home", [(0, 7)]),
    ],
)
def test_highlights_count_code_points(query, text, ranges):
    assert terms.spans(terms.query(query), text) == ranges


@given(ANY, ANY)
def test_any_text_and_any_query_is_taken(text, query):
    found = terms.document(text, name=text[:20])
    assert all(1 <= term <= terms.TERM_NUMBERS and count > 0 for term, count in found.counts.items())
    assert len(found.counts) <= terms.TERMS_MOST
    asked = terms.query(query)
    terms.probes(asked)
    end = 0
    for start, stop in terms.spans(asked, text):
        assert end <= start < stop <= len(text)
        end = stop


@pytest.mark.parametrize(
    "text",
    [
        "a" * 20_000,
        "가" * 20_000,
        "😀" * 20_000,
        "a.b" * 7_000,
        "1/" * 9_000,
        "\x00\ufffe" * 9_000,
        " ".join(map(str, range(4_000))),
        "111," * 5_000,
        "_a" * 10_000,
    ],
)
def test_long_texts_take_no_longer_for_their_kind(text):
    began = time.process_time()
    terms.document(text)
    asked = terms.query(text[:8_000])
    terms.spans(asked, text)
    assert time.process_time() - began < 3
    assert len(asked.terms) <= terms.ASKED_MOST + 2


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("ㄱ" * 7_999 + "ㄴ", "가" * 20_000), ("_a" * 3_999 + "b", "_a" * 10_000), ('"' + "a" * 7_990 + 'b"', "a" * 20_000),
        ("가" * 8_000, "가" * 20_000), ("a" * 8_000, "a" * 20_000), ("1," * 4_000, "1," * 10_000),
    ],
)  # fmt: skip
def test_a_pattern_is_short_however_long_its_word_is(query, text):
    began = time.process_time()
    asked = terms.query(query)
    terms.spans(asked, text)
    assert all(len(pattern.pattern) < 3_000 for pattern, _ in asked.matchers)
    assert time.process_time() - began < 0.5
