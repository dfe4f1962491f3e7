"""The generator: equal seeds give equal bytes, and what the truth says of a row is true of its text."""

from __future__ import annotations

import hashlib
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tulou.bench.corpus import SHARES, Corpus, read_texts, read_truth, write_corpus
from tulou.bench.dirt import Dirty, mojibake
from tulou.bench.grammar import Grammar, load_texts
from tulou.bench.identity import LOOKALIKES, MAKERS, is_valid, lookalike
from tulou.bench.likeness import jaccard, shingles

ROWS = 6000  # two blocks, so that copies cross from one to the other


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", ROWS, seed=3, mean_bytes=700, processes=1)


@pytest.fixture(scope="module")
def truth(corpus: Corpus) -> list[dict[str, Any]]:
    return read_truth(corpus)


@pytest.fixture(scope="module")
def texts(corpus: Corpus) -> list[str]:
    return list(read_texts(corpus.documents))


def _of_kind(truth: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    rows = [row for row in truth if row["kind"] == kind]
    assert rows, f"no {kind} was planted"
    return rows


def _digest(corpus: Corpus) -> str:
    return hashlib.sha256(corpus.documents.read_bytes() + corpus.truth.read_bytes()).hexdigest()


def test_equal_seeds_give_equal_bytes_whatever_the_number_of_processes(corpus: Corpus, tmp_path: Path) -> None:
    again = write_corpus(tmp_path / "corpus.jsonl", ROWS, seed=3, mean_bytes=700, processes=2)
    assert _digest(again) == _digest(corpus)


def test_another_seed_gives_another_corpus(tmp_path: Path) -> None:
    digests = {_digest(write_corpus(tmp_path / f"{seed}.jsonl", 300, seed=seed)) for seed in (1, 2)}
    assert len(digests) == 2


def test_every_line_has_its_truth(truth: list[dict[str, Any]], texts: list[str]) -> None:
    assert len(truth) == len(texts) == ROWS
    assert [row["row"] for row in truth] == list(range(1, ROWS + 1))
    assert [row["id"] for row in truth[:2]] == ["d000000001", "d000000002"]


def test_kinds_come_as_often_as_they_should(truth: list[dict[str, Any]]) -> None:
    for kind, share in SHARES.items():
        assert len(_of_kind(truth, kind)) / ROWS == pytest.approx(share, abs=0.012)
    assert {row["language"] for row in truth} == {"zh", "en"}
    assert sum(row["language"] == "zh" for row in truth) / ROWS == pytest.approx(0.5, abs=0.03)


def test_the_share_of_dirt_is_a_setting(tmp_path: Path) -> None:
    clean = read_truth(write_corpus(tmp_path / "clean.jsonl", 500, dirty=0.0))
    assert {row["kind"] for row in clean} == {"clean"}


def test_documents_are_about_as_long_as_asked_and_vary(texts: list[str]) -> None:
    sizes = sorted(len(text.encode()) for text in texts)
    assert sum(sizes) / len(sizes) == pytest.approx(700, rel=0.15)
    assert sizes[len(sizes) // 20] < 400
    assert sizes[-len(sizes) // 20] > 1000


@pytest.mark.parametrize("language", ["zh", "en"])
def test_distinct_documents_are_far_from_being_copies(
    truth: list[dict[str, Any]], texts: list[str], language: str
) -> None:
    rows = [row for row in _of_kind(truth, "clean") if row["language"] == language][:300]
    sets = [shingles(texts[row["row"] - 1], language) for row in rows]
    assert max(jaccard(a, b) for a, b in combinations(sets, 2)) < 0.4


def test_exact_copies_equal_their_original_once_repaired(truth: list[dict[str, Any]], texts: list[str]) -> None:
    rows = _of_kind(truth, "exact_duplicate")
    for row in rows:
        assert (row["expected"] or texts[row["row"] - 1]) == texts[row["of"] - 1]
        assert truth[row["of"] - 1]["kind"] == "clean"
    assert any(row["expected"] for row in rows)
    assert any(row["row"] > 5000 >= row["of"] for row in rows), "none crosses from one block to another"


def test_the_similarity_of_near_copies_is_the_true_one(truth: list[dict[str, Any]], texts: list[str]) -> None:
    rows = _of_kind(truth, "near_duplicate")
    for row in rows:
        language = row["language"]
        alike = jaccard(shingles(texts[row["row"] - 1], language), shingles(texts[row["of"] - 1], language))
        assert row["jaccard"] == alike
    above = sum(row["jaccard"] >= 0.8 for row in rows) / len(rows)
    assert 0.5 < above < 0.9


def test_planted_values_stand_in_the_text_and_pass_their_check(truth: list[dict[str, Any]], texts: list[str]) -> None:
    seen = set()
    for row in _of_kind(truth, "sensitive"):
        for value in row["values"]:
            assert value["text"] in texts[row["row"] - 1]
            narrow = "".join(chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in value["text"])
            assert is_valid(value["kind"], narrow)
            seen.add(value["kind"])
    assert seen == set(MAKERS)


def test_lookalikes_stand_in_the_text_and_pass_no_check(truth: list[dict[str, Any]], texts: list[str]) -> None:
    for row in _of_kind(truth, "lookalike"):
        (value,) = row["values"]
        assert not value["is_real"]
        assert value["text"] in texts[row["row"] - 1]
        checked = {"bank_card", "id_card", "social_credit"} | ({value["kind"]} & {"iban", "us_ssn", "ip"})
        assert not any(is_valid(kind, value["text"]) for kind in checked)


def test_values_are_planted_in_held_out_sentences_only(truth: list[dict[str, Any]], texts: list[str]) -> None:
    for row in _of_kind(truth, "sensitive")[:200]:
        carriers = load_texts(row["language"])["carriers"]
        for value in row["values"]:
            held_out = [form.format(value=value["text"]) for form in carriers[value["kind"]]["held_out"]]
            assert any(sentence in texts[row["row"] - 1] for sentence in held_out)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_sentence_is_both_tuned_on_and_held_out(language: str) -> None:
    for split in load_texts(language)["carriers"].values():
        assert not set(split["tuning"]) & set(split["held_out"])


_BACK = {
    "utf8_as_latin1": ("latin-1", "utf-8"),
    "gbk_as_latin1": ("latin-1", "gbk"),
    "utf8_as_gbk": ("gb18030", "utf-8"),
    "big5_as_latin1": ("latin-1", "big5"),
    "big5_as_gbk": ("gb18030", "big5"),
}


def test_mojibake_can_be_undone_without_loss() -> None:
    rng = random.Random(1)
    grammar = Grammar("zh", rng)
    seen = set()
    for _ in range(120):
        made: Dirty = mojibake(grammar.sentences(400), grammar, rng)
        seen.add(made.detail)
        assert made.expected
        assert made.text != made.expected
        if made.detail not in _BACK or "。" in made.text or made.detail == "utf8_as_gbk":
            continue  # damaged in part only, or through Windows-1252's undefined bytes
        read, written = _BACK[made.detail]
        assert made.text.encode(read).decode(written) == made.expected
    assert seen == {*_BACK, "utf8_as_cp1252"}


def test_typos_say_what_stands_there_and_what_should(truth: list[dict[str, Any]], texts: list[str]) -> None:
    for row in _of_kind(truth, "typo"):
        (value,) = row["values"]
        assert value["text"] in texts[row["row"] - 1]
        assert row["detail"] in row["expected"]
        assert texts[row["row"] - 1] != row["expected"]


@pytest.mark.parametrize("kind", ["html", "full_width", "control", "mojibake"])
def test_damaged_rows_keep_the_text_as_it_should_read(truth: list[dict[str, Any]], texts: list[str], kind: str) -> None:
    assert all(row["expected"] != texts[row["row"] - 1] for row in _of_kind(truth, kind))


def test_check_digits_are_those_of_the_standards() -> None:
    assert is_valid("id_card", "11010519491231002X")  # GB 11643-1999, its own example
    assert is_valid("social_credit", "91350100M000100Y43")  # GB 32100-2015, its own example
    assert is_valid("bank_card", "4111 1111 1111 1111")
    assert is_valid("iban", "GB82 WEST 1234 5698 7654 32")
    for kind, wrong in (
        ("id_card", "110105194912310021"),
        ("social_credit", "91350100M000100Y44"),
        ("bank_card", "4111111111111112"),
        ("iban", "GB82WEST12345698765433"),
        ("us_ssn", "666-12-3456"),
        ("ip", "10.0.19045.3086"),
    ):
        assert not is_valid(kind, wrong)


def test_every_lookalike_can_be_made() -> None:
    rng = random.Random(2)
    assert all(lookalike(kind, rng) for kind in LOOKALIKES for _ in range(50))
