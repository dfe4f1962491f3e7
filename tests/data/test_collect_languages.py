"""The compiled count of scripts against the reference it stands in for."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tulou.data.kernels.scripts import languages
from tulou.data.language import detect

_TELLING = st.sampled_from("aZéɏ'’-- 1的㐀豈𠀀あアㄱ가яش\n，×÷ʰͰ᳿​\U0003ffff\U00040000")


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(_TELLING, max_size=40) | st.text(max_size=20), max_size=20))
@example(["don't stop", "don''t 你", "-a- -b-'c 你好", "a" * 3999 + " 的" * 9, "的" * 3998 + " a b c", "", "123"])
def test_compiled_languages_equal_the_reference(texts: list[str]) -> None:
    assert languages(pa.array(texts, pa.string())).to_pylist() == [detect(text) for text in texts]


def test_a_slice_of_a_column_and_nulls_are_counted_by_themselves() -> None:
    column = pa.array(["你好", None, "hello there", "привет"], pa.string())
    assert languages(column).to_pylist() == ["zh", "other", "en", "other"]
    assert languages(column[2:3]).to_pylist() == ["en"]
    assert languages(pa.array([], pa.string())).to_pylist() == []
