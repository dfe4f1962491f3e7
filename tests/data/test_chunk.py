from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulou.core.sentences import split_sentences as sentences
from tulou.core.tables import DOCUMENT, PASSAGE
from tulou.data.search.chunk import passages


def cut(text: str, max_chars: int = 200, overlap_chars: int = 0, **document: Any) -> list[dict[str, Any]]:
    row = dict.fromkeys(DOCUMENT.names, "") | {"id": "d", "text": text, "media_type": "text/markdown"} | document
    batches = list(passages([pa.RecordBatch.from_pylist([row], schema=DOCUMENT)], max_chars, overlap_chars))
    assert all(batch.schema.equals(PASSAGE) for batch in batches)
    return [passage for batch in batches for passage in batch.to_pylist()]


def test_passages_do_not_cross_headings_and_carry_their_path() -> None:
    found = cut(
        "# Returns\n\nIntro.\n\n## How long\n\nSeven days.\n\n### Abroad\n\nTen days.\n\n## Who pays\n\nWe do.",
        title="Returns",
    )
    assert [(passage["heading"], passage["text"]) for passage in found] == [
        ("", "Intro."),
        ("How long", "Seven days."),
        ("How long > Abroad", "Ten days."),
        ("Who pays", "We do."),
    ]


def test_long_paragraphs_are_cut_between_sentences() -> None:
    chinese = "我们在收到退货之后的两个工作日以内完成检查并且退款。" * 20
    english = "We check what you send back within two working days, e.g. on Monday, and refund 3.5 percent more. " * 10
    for text in (chinese, english.strip()):
        found = cut(text, 120)
        assert len(found) >= 5
        assert all(len(passage["text"]) <= 120 for passage in found)
        assert all(passage["text"][-1] in "。." for passage in found)


@pytest.mark.parametrize("text", ["x" * 1000, "没有标点" * 300, "word " * 300])
def test_text_without_sentences_is_cut_at_the_limit_and_loses_nothing(text: str) -> None:
    found = cut(text, 100)
    assert all(len(passage["text"]) <= 100 for passage in found)
    assert "".join(passage["text"] for passage in found).replace(" ", "") == text.replace(" ", "")


def test_table_rows_stay_whole_and_keep_their_header() -> None:
    rows = "\n".join(f"| Region {n} | {n} days | {n * 5} yuan |" for n in range(30))
    found = cut(f"| Region | Time | Fee |\n| --- | --- | --- |\n{rows}", 150)
    assert found[0]["text"].splitlines()[0] == "Region: Region 0; Time: 0 days; Fee: 0 yuan"
    assert sum(len(passage["text"].splitlines()) for passage in found) == 30
    assert all(line.startswith("Region: ") for passage in found for line in passage["text"].splitlines())


def test_marks_of_markdown_are_not_shown() -> None:
    [passage] = cut("We **really** mean [the policy](http://x.example) and `this_name` and 2 * 3 * 4.")
    assert passage["text"] == "We really mean the policy and this_name and 2 * 3 * 4."


def test_lone_lines_of_plain_text_are_headings() -> None:
    text = "礼品卡须知\n\n有效期\n\n从购买之日起 36 个月。\n\n丢了怎么办\n\n余额在账号里。"
    found = cut(text, media_type="text/plain", title="礼品卡须知")
    assert [(passage["heading"], passage["text"]) for passage in found] == [
        ("有效期", "从购买之日起 36 个月。"),
        ("丢了怎么办", "余额在账号里。"),
    ]


def test_text_of_headings_only_is_not_lost() -> None:
    [passage] = cut("# We are closed on Monday")
    assert passage["text"] == "We are closed on Monday"


def test_empty_document_gives_no_passage() -> None:
    assert cut(" \n ") == []


def test_language_is_the_passage_s_own() -> None:
    found = cut("# 通知\n\n今天放假。\n\n# Notice\n\nClosed today.", language="zh")
    assert [passage["language"] for passage in found] == ["zh", "en"]


def test_sentences_of_both_languages() -> None:
    assert sentences("你好！退货要多久？七天。") == ["你好！", "退货要多久？", "七天。"]
    assert sentences("It costs 3.5 yuan, e.g. by post. Really? Yes.") == [
        "It costs 3.5 yuan, e.g. by post.",
        "Really?",
        "Yes.",
    ]


@pytest.mark.parametrize("text", ["第{}句话讲的是退货和退款的事情。", "Sentence {} is about returns and refunds. "])
def test_passages_of_a_section_overlap_in_whole_sentences(text: str) -> None:
    told = [text.format(number).strip() for number in range(30)]
    found = [passage["text"] for passage in cut("# 甲\n\n" + "".join(map(text.format, range(30))), 150, 45)]
    assert len(found) >= 4
    assert all(len(passage) <= 150 for passage in found)
    for before, after in pairwise(found):
        assert sentences(before)[-1] in sentences(after)[:3]
    assert list(dict.fromkeys(sentence for passage in found for sentence in sentences(passage))) == told


def test_nothing_is_repeated_across_headings_nor_from_or_into_tables() -> None:
    table = "| Region | Fee |\n| --- | --- |\n" + "\n".join(f"| Region {n} | {n} yuan |" for n in range(12))
    found = cut(f"# A\n\nShort end.\n\n# B\n\nLead in here.\n\n{table}\n\nAfter it. Last words.", 110, 50)
    whole = "\n".join(passage["text"] for passage in found)
    for once in ("Short end.", "Lead in here.", "After it.", "Last words.", *(f"Region {n};" for n in range(12))):
        assert whole.count(once) == 1


def test_a_sentence_longer_than_the_overlap_is_not_repeated() -> None:
    found = cut("This sentence is quite a bit longer than what may be repeated. " * 6, 150, 20)
    assert all(len(sentences(passage["text"])) == len(set(sentences(passage["text"]))) * 2 for passage in found)


HOSTILE = {
    "blank heading": "# " + " " * 100_000 + "x",
    "hashes": "# x" + "#" * 100_000 + "x",
    "open links": "[" * 100_000,
    "half links": "[](" * 30_000,
    "abbreviations": "e.g. " * 20_000,
    "table rule": "| a |\n| ---" + " " * 100_000 + "x |",
    "marks": "*_`" * 30_000,
    "stops": "。" * 100_000,
    "one section": "A short paragraph of one sentence.\n\n" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_cut_in_seconds(name: str) -> None:
    started = time.monotonic()
    found = cut(HOSTILE[name], 400, 50)
    assert time.monotonic() - started < 10
    assert all(passage["text"] for passage in found)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab 。.!?；\n#|-*[]()`第一 ”"…\t'), max_size=300), st.integers(0, 60))
def test_any_text_is_cut_within_the_limit_and_repeated_only_as_far_as_asked(text: str, overlap: int) -> None:
    plain = [passage["text"] for passage in cut(text, 120)]
    overlapping = [passage["text"] for passage in cut(text, 120, overlap)]
    assert all(len(passage) <= 120 or "\n" not in passage for passage in plain + overlapping)
    assert sum(map(len, overlapping)) <= sum(map(len, plain)) + (overlap + 1) * len(overlapping) + len(text)
