"""Each compiled loop gives what its plain-Python reference gives, on any text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulou.data.kernels import characters
from tulou.data.kernels.clusters import clusters_of, roots, unite
from tulou.data.kernels.fingerprint import Unit, fingerprint, rows_per_band
from tulou.data.kernels.likeness import similarities, similarity
from tulou.data.kernels.scripts import languages
from tulou.data.kernels.survey import survey, survey_one
from tulou.data.language import detect

# Characters on which the rules turn, besides any character at all.
_LETTERS = "aZ09 \t\n\r’-<&@＠|.,:_，。！（中国嘅錢ÀßÿカОтは한"
_ODD = "\u0301\u0378\u200b\u3000\xa0\xad\u0085\u2028\ue000\ufffd\ufeffＡ１ﬁ"
_ABOVE = "\U0001f600\U00020001\U0002f800\U000e0001"
_RUNS = ["x" * 12, "ab" * 12, "1234" * 12, "\n" * 6, "  ", "\n\n\n"]
_TURNING = st.sampled_from([*_LETTERS, *_ODD, *_ABOVE, *_RUNS])
_ANY = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(st.one_of(_TURNING, _ANY), max_size=60).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXTS, max_size=8))
def test_survey_sees_what_the_reference_sees(texts: list[str]) -> None:
    array = pa.array(texts, pa.string())
    compiled, reference = survey(array), survey(array, is_compiled=False)
    assert compiled.traits.tolist() == reference.traits.tolist()
    assert compiled.counts.tolist() == reference.counts.tolist()


_NUMERIC = st.sampled_from(
    [*"0123456789" * 3, *"０９.．:：-–() ,abABＡ京粤Dé\u200b\ufe0f\u0660", "\U00020001", "\U000e0001"]
)


@settings(max_examples=2000, deadline=None)
@given(st.lists(_NUMERIC, max_size=40).map("".join))
def test_shapes_of_numbers_are_those_of_the_reference(text: str) -> None:
    assert survey(pa.array([text])).traits[0] == survey_one(text)[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=6), st.sampled_from(list(Unit)), st.sampled_from([3, 6, 16]))
def test_fingerprints_are_those_of_the_reference(texts: list[str], unit: Unit, rows: int) -> None:
    array = pa.array(texts, pa.string())
    compiled, reference = fingerprint(array, unit, rows), fingerprint(array, unit, rows, is_compiled=False)
    for name in ("digests", "numbers", "bands", "shingles"):
        assert getattr(compiled, name).tolist() == getattr(reference, name).tolist(), name


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, min_size=2, max_size=6), st.sampled_from(list(Unit)))
def test_similarity_is_that_of_the_sets_of_shingles(texts: list[str], unit: Unit) -> None:
    left, right = np.triu_indices(len(texts))  # many pairs share one hash table
    found = similarities(pa.array(texts, pa.string()), left, right, unit)
    assert found.tolist() == [similarity(texts[i], texts[j], unit) for i, j in zip(left, right, strict=True)]


@settings(deadline=None)  # the first example waits for the compiler
@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_clusters_do_not_depend_on_the_order_of_pairs(case: tuple[int, list[tuple[int, int]]]) -> None:
    size, pairs = case
    parents = np.arange(size)
    for a, b in reversed(pairs):
        unite(parents, np.array([a]), np.array([b]))
    assert roots(parents).tolist() == clusters_of(size, pairs)


_WORDS = st.lists(
    st.sampled_from(["buy now ", "a ", "b\n", "一 二 三 ", "x" * 3 + "\u3000"]).flatmap(
        lambda unit: st.integers(1, 30).map(lambda times: unit * times)
    ),
    max_size=4,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(_WORDS, st.sampled_from(["", "end", " "]))
def test_repeated_words_are_seen_as_the_reference_sees_them(text: str, end: str) -> None:
    assert survey(pa.array([text + end])).traits[0] == survey_one(text + end)[0]


def test_slices_and_nulls_are_read_from_the_right_bytes() -> None:
    array = pa.array(["first", None, "第三个 123", "<b>"], pa.string())
    whole, part = survey(array), survey(array.slice(2))
    assert part.traits.tolist() == whole.traits[2:].tolist()
    assert whole.counts[1].sum() == 0


@pytest.mark.parametrize(("threshold", "rows"), [(0.5, 2), (0.8, 6), (0.95, 13)])
def test_bands_miss_few_pairs_at_the_threshold(threshold: float, rows: int) -> None:
    assert rows_per_band(threshold) == rows
    assert (1 - threshold**rows) ** (128 // rows) <= 2e-3


@pytest.mark.parametrize("unit", list(Unit))
def test_pairs_at_the_threshold_share_a_band(unit: Unit) -> None:
    rng = np.random.default_rng(5)
    words = ["".join(chr(97 + code) for code in rng.integers(0, 26, 6)) for _ in range(5000)]
    originals = [rng.choice(words, 120) for _ in range(300)]
    edited = [text.copy() for text in originals]
    for text in edited:
        text[rng.integers(0, 120, 4)] = "changed"
    texts = pa.array([" ".join(text) for text in (*originals, *edited)])
    bands = fingerprint(texts, unit, 6).bands
    alike = similarities(texts, np.arange(300), np.arange(300, 600), unit)
    meets = (bands[:300] == bands[300:]).any(axis=1)
    assert (alike >= 0.8).sum() > 200
    assert meets[alike >= 0.8].mean() > 0.99


def test_tables_say_what_the_references_say() -> None:
    codes = [code for code in range(characters.TABLE_SIZE) if not 0xD800 <= code < 0xE000]
    kinds, folded = characters.kinds(), characters.folded()
    assert [code for code in codes if kinds[code] != characters.kind_of(chr(code))] == []
    assert [code for code in codes if folded[code] != ord(characters.fold(chr(code)))] == []


@settings(max_examples=500, deadline=None)
@given(st.lists(TEXTS, max_size=5))
def test_languages_are_those_of_the_reference(texts: list[str]) -> None:
    assert languages(pa.array(texts, pa.string())).to_pylist() == [detect(text) for text in texts]
