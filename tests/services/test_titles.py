"""How a room that was made without a name is called."""

import pytest

from services.messages import title


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("제주 여행 일정 짜 줘\n3박 4일", "제주 여행 일정 짜 줘"),
        ("\n\n  ## **굵게** `code` 제목  ", "굵게 code 제목"),
        ("- 첫째 항목", "첫째 항목"),
        ("1. one", "one"),
        ("snake_case_name stays", "snake_case_name stays"),
        ("**", "**"),
        ("\u200b\x07", "…"),
        ("a" * 60, "a" * 40 + "…"),
        ("one two three four five six seven eight nine ten", "one two three four five six seven eight…"),
    ],
)
def test_a_title_is_the_first_line_as_it_would_be_shown(text, name):
    assert title(text) == name
    assert len(title(text)) <= 41
