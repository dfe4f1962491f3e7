from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tulou.core.sentences import split_sentences as sentences
from tulou.core.types import DOCUMENT, PASSAGE
from tulou.data.search.chunk import passages


def cut(text: str, max_chars: int = 200, **document: Any) -> list[dict[str, Any]]:
    row = dict.fromkeys(DOCUMENT.names, "") | {"id": "d", "text": text, "media_type": "text/markdown"} | document
    batches = list(passages([pa.RecordBatch.from_pylist([row], schema=DOCUMENT)], max_chars))
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
