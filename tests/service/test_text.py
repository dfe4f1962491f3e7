from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.service.engine.text import Detokenizer, StopFilter


def bytes_to_text(ids: list[int]) -> str:
    """A byte-level vocabulary at its plainest: every byte is a token."""
    return bytes(ids).decode(errors="replace")


@given(st.text(), st.integers(1, 5))
def test_pieces_add_up_to_the_text_and_hold_no_half_characters(text: str, size: int) -> None:
    detokenizer = Detokenizer(bytes_to_text)
    ids = list(text.encode())
    pieces = [detokenizer.push(ids[i : i + size]) for i in range(0, len(ids), size)]
    pieces.append(detokenizer.push([], is_last=True))
    assert "".join(pieces) == text
    assert detokenizer.count == len(ids)
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_an_answer_cut_in_the_middle_of_a_character_still_ends() -> None:
    detokenizer = Detokenizer(bytes_to_text)
    assert detokenizer.push(list("好".encode())[:2]) == ""
    assert detokenizer.push([], is_last=True) == "\ufffd"


@given(st.text("abc", max_size=40), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.integers(1, 4))
def test_text_ends_before_the_first_stop_string_however_it_is_cut(text: str, stops: list[str], size: int) -> None:
    shown = StopFilter(stops)
    pieces = [shown.push(text[i : i + size]) for i in range(0, len(text), size)]
    pieces.append(shown.push("", is_last=True))
    result = "".join(pieces)
    # Whichever stop string is complete first ends the answer, as it would token by token.
    ends = [found + len(stop) for stop in stops if (found := text.find(stop)) >= 0]
    assert text.startswith(result)
    assert shown.is_stopped == bool(ends)
    assert not any(stop in result for stop in stops)
    if not ends:
        assert result == text


@pytest.mark.parametrize(("pieces", "expected"), [(["a\n", "\nb"], "a"), (["a\n", "b"], "a\nb"), (["a\n"], "a\n")])
def test_what_may_become_a_stop_string_is_held_back(pieces: list[str], expected: str) -> None:
    shown = StopFilter(["\n\n"])
    assert "".join([*(shown.push(piece) for piece in pieces), shown.push("", is_last=True)]) == expected
