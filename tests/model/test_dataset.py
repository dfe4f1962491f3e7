from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tulou.core.errors import DataError
from tulou.core.prompt import NO_ANSWER, is_no_answer, question_in, support_messages
from tulou.core.tables import CONVERSATION, PASSAGE
from tulou.model.dataset import chat_examples

TEXTS = {
    ("zh", "退货政策", "多久可以退"): "签收后30天内可以申请退货。商品要保持完好，配件齐全。超过期限的按保修处理。",
    ("zh", "配送", "运费"): "订单满99元免运费，不满收8元。偏远地区加收15元运费。",
    ("zh", "发票", "怎么开"): "在订单详情页点击申请发票。电子发票24小时内发到邮箱。",
    ("zh", "电水壶", ""): "商品: 电水壶\n型号: K1\n价格: 199\n颜色: 米白",
    ("en", "Returns", "How long"): "You may return an order within 30 days of delivery. Keep the box and all parts.",
    ("en", "Delivery", "Fees"): "Orders above 99 yuan ship free. Remote regions cost 15 yuan more.",
    (
        "en",
        "Invoices",
        "How to get one",
    ): "Choose Request invoice on the order page. It arrives by e-mail within 24 hours.",
}


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    rows = [
        {
            "id": f"p{n}", "document_id": f"d{n}", "source": "knowledge", "uri": f"{n}.md", "position": "",
            "title": title, "heading": heading, "text": text, "language": language, "modified_at": "",
        }
        for n, ((language, title, heading), text) in enumerate(TEXTS.items())
    ]  # fmt: skip
    folder = tmp_path / "passages"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=PASSAGE), folder / "passages-0.parquet")
    return folder


def written(out: Path) -> list[dict[str, Any]]:
    table = pq.read_table(out / "conversations-00000.parquet")
    assert table.schema.equals(CONVERSATION)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_answers_are_the_words_of_a_passage_in_the_prompt(passages: Path, tmp_path: Path) -> None:
    facts = chat_examples(passages, [], tmp_path / "out", seed=0)
    rows = written(tmp_path / "out")
    assert facts["conversations"] == len(rows)
    assert {row["language"] for row in rows} == {"zh", "en"}
    for row in rows:
        system, user, assistant = row["messages"]
        assert (system["role"], user["role"], assistant["role"]) == ("system", "user", "assistant")
        if is_no_answer(assistant["content"]) or "K1" in user["content"]:
            continue
        for sentence in assistant["content"].rstrip("。").split("。"):
            assert sentence in user["content"].rpartition("\n\n")[0]


def test_table_rows_are_asked_column_by_column(passages: Path, tmp_path: Path) -> None:
    chat_examples(passages, [], tmp_path / "out", seed=0)
    assert any(row["messages"][2]["content"] == "电水壶，价格：199。" for row in written(tmp_path / "out"))


def test_every_answer_is_a_whole_sentence(passages: Path, tmp_path: Path) -> None:
    chat_examples(passages, [], tmp_path / "out", seed=0)
    for row in written(tmp_path / "out"):
        answer = row["messages"][2]["content"]
        assert answer[-1] in "。.！!"
        assert not "a" <= answer[0] <= "z"


def test_some_contexts_hold_no_answer_and_say_so(passages: Path, tmp_path: Path) -> None:
    facts = chat_examples(passages, [], tmp_path / "out", seed=0)
    answers = [row["messages"][2]["content"] for row in written(tmp_path / "out")]
    assert facts["off_topic"] > 0
    assert NO_ANSWER["zh"] in answers
    assert NO_ANSWER["en"] in answers


def test_the_same_seed_gives_the_same_rows(passages: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        chat_examples(passages, [], tmp_path / name, seed)
    a, b, c = (written(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c


def test_no_question_is_on_both_sides_of_the_split(passages: Path, tmp_path: Path) -> None:
    chat_examples(passages, [], tmp_path / "out", seed=0)
    sides: dict[str, set[str]] = {}
    for row in written(tmp_path / "out"):
        if not is_no_answer(row["messages"][2]["content"]):
            sides.setdefault(question_in(row["messages"][1]["content"]), set()).add(row["split"])
    assert max(len(side) for side in sides.values()) == 1
    assert {"train", "validation"} == set().union(*sides.values())


def test_questions_of_the_exam_are_taken_out_and_counted(passages: Path, tmp_path: Path) -> None:
    chat_examples(passages, [], tmp_path / "all", seed=0)
    asked = question_in(written(tmp_path / "all")[0]["messages"][1]["content"])
    facts = chat_examples(passages, [asked.upper() + " !"], tmp_path / "out", seed=0)
    assert facts["removed_like_exam"] >= 1
    assert asked not in [question_in(row["messages"][1]["content"]) for row in written(tmp_path / "out")]


def test_feedback_joins_unless_it_is_the_exam(passages: Path, tmp_path: Path) -> None:
    rows = []
    for number, question in enumerate(("可以货到付款吗？", "这题在考试里出现过吗？")):
        said = [{"role": m.role, "content": m.content} for m in support_messages(question, [], "zh")]
        rows.append(
            {"id": str(number), "document_id": "d", "messages": [*said, {"role": "assistant", "content": "可以。"}],
             "language": "zh", "split": "train"}
        )  # fmt: skip
    given = tmp_path / "feedback-000001.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), given)
    facts = chat_examples(passages, ["这题在考试里出现过吗"], tmp_path / "out", 0, given)
    assert (facts["feedback"], facts["removed_like_exam"]) == (1, 1)


def test_no_passages_give_no_examples(tmp_path: Path) -> None:
    folder = tmp_path / "passages"
    folder.mkdir()
    pq.write_table(PASSAGE.empty_table(), folder / "passages-0.parquet")
    with pytest.raises(DataError, match="0 passages give no question to learn from"):
        chat_examples(folder, [], tmp_path / "out", 0)
