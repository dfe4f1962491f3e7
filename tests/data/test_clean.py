"""The cleaning pipeline as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tulou.core.progress import Silent
from tulou.core.settings import CleanSettings
from tulou.core.tables import DECISION, DOCUMENT
from tulou.data.clean import clean
from tulou.data.parquet import read_batches

WriteDocuments = Callable[..., Path]


def run(documents: Path, settings: CleanSettings | None = None) -> tuple[dict[str, Any], list[dict[str, Any]], Path]:
    out = documents.parent / "clean"
    summary = clean(documents, out, settings or CleanSettings(), Silent())
    return summary, [row for batch in read_batches(out) for row in batch.to_pylist()], out


def test_counts_add_up_and_both_tables_have_their_schema(write_documents: WriteDocuments) -> None:
    documents = write_documents(
        [
            {"text": "Where is my parcel?", "label": "delivery"},
            {"text": "where is my parcel", "label": "delivery"},
            {"text": "", "label": "delivery"},
            {"text": "兼职刷单日赚500，加微信 abc12345", "label": "other"},
            {"text": "Call me on 13812345678 about the refund", "label": "refund"},
        ]
    )
    summary, rows, out = run(documents)
    assert summary["in"] == 5
    assert summary["kept"] == len(rows) == 2
    assert summary["dropped"] == {"exact_duplicate.same_text": 1, "empty.no_text": 1, "spam.advertising": 1}
    assert summary["changed"] == {"sensitive.PHONE_NUMBER": 1}
    assert pq.read_schema(out / "decisions-00000.parquet").equals(DECISION)
    assert pq.read_schema(out / "documents-00000.parquet").equals(DOCUMENT)


def test_no_sensitive_value_is_left_in_any_output(write_documents: WriteDocuments) -> None:
    secret = "13812345678"
    documents = write_documents(
        [
            {"text": f"电话{secret}", "title": f"电话{secret}", "label": "a"},
            {"text": f"<b>电话</b>   {secret} 请回电，谢谢你们", "label": "a"},
            {"text": f"电话{secret}", "label": "b"},
            {"text": "x" * 1995 + f" {secret} &amp; more", "label": "a"},
        ]
    )
    summary, rows, out = run(documents)
    shown = str(summary) + str(rows) + str(pq.read_table(out / "decisions-00000.parquet").to_pylist())
    assert secret not in shown
    assert secret[:8] not in shown


def test_drop_removes_the_whole_record(write_documents: WriteDocuments) -> None:
    documents = write_documents([{"text": "我的卡号是6222021234567890128"}, {"text": "一切正常的一句话"}])
    summary, rows, _ = run(documents, CleanSettings(sensitive={"bank_card": "drop", "phone": "keep"}))
    assert [row["text"] for row in rows] == ["一切正常的一句话"]
    assert summary["dropped"] == {"sensitive.CREDIT_CARD": 1}


def test_first_of_contradicting_labels_stays(write_documents: WriteDocuments) -> None:
    documents = write_documents(
        [{"text": "The box is broken", "label": "damaged"}, {"text": "The box is broken!", "label": "fault"}]
    )
    summary, rows, out = run(documents)
    assert [row["label"] for row in rows] == ["damaged"]
    assert summary["dropped"] == {"exact_duplicate.other_label": 1}
    assert pq.read_table(out / "decisions-00000.parquet").to_pylist()[0]["after"] == rows[0]["id"]


def test_a_copy_with_a_label_stays_and_not_one_without(write_documents: WriteDocuments) -> None:
    texts = ("The box is broken", "The box is broken!", "The box is broken.", "the box is broken")
    labels = ("", "damaged", "", "fault")
    documents = write_documents(
        [{"text": text, "label": label or None} for text, label in zip(texts, labels, strict=True)]
    )
    summary, rows, _ = run(documents)
    assert [row["label"] for row in rows] == ["damaged"]
    assert summary["dropped"] == {"exact_duplicate.same_text": 2, "exact_duplicate.other_label": 1}


def test_near_copies_go_and_questions_that_differ_in_what_matters_stay(write_documents: WriteDocuments) -> None:
    kept = [
        ("I would like to know when my order of the electric kettle is going to arrive at my home", "delivery"),
        (
            "I would like to know when my order of the noise-cancelling headphones is going to arrive at my home",
            "delivery",
        ),
        ("我上周买的降噪耳机左边没有声音了，请问可以免费维修吗", "fault"),
        ("我上周买的电热水壶底部漏水很厉害，请问可以免费维修吗", "fault"),
    ]
    copies = [
        ("I would like to know when my ordr of the electric kettle is going to arrive at my home", "delivery"),
        ("我上周买的降噪耳机左边没有声音了，，请问能免费维修吗？", "fault"),
    ]
    documents = write_documents([{"text": text, "label": label} for text, label in kept + copies])
    summary, rows, _ = run(documents)
    assert [row["text"] for row in rows] == [text for text, _ in kept]
    assert summary["dropped"] == {"near_duplicate.near_copy": 2}


def test_table_rows_and_texts_with_other_numbers_are_no_near_copies(write_documents: WriteDocuments) -> None:
    text = "The warranty of this product is {} months from the day on which it was delivered to your home address"
    documents = write_documents(
        [
            {"text": "product: kettle\nprice: 199\nwarranty: two years and repairs at home"},
            {"text": "product: kettle\nprice: 199\nwarranty: two years and repairs at hom"},
            {"text": text.format(24), "position": ""},
            {"text": text.format(36), "position": ""},
        ]
    )
    summary, _, _ = run(documents)
    assert summary["kept"] == 4


def test_cleaning_twice_gives_the_same_bytes(write_documents: WriteDocuments, tmp_path: Path) -> None:
    documents = write_documents(
        [{"text": f"question number {n} about parcel {n * 7}", "label": "a"} for n in range(50)]
    )
    outputs = []
    for name in ("one", "two"):
        clean(documents, tmp_path / name, CleanSettings(), Silent())
        outputs.append((tmp_path / name / "documents-00000.parquet").read_bytes())
    assert outputs[0] == outputs[1]


def test_spelling_is_learned_from_the_source_then_corrected_or_reported(write_documents: WriteDocuments) -> None:
    records = [f"The Yunque kettle of customer {n} was delivered on time." for n in range(40)]
    documents = write_documents(
        [{"text": text, "position": ""} for text in (*records, "The Yunque kettle was delivred late.")]
    )
    summary, rows, out = run(documents, CleanSettings(spelling="correct"))
    assert summary["changed"] == {"spelling.en": 1}
    assert rows[-1]["text"] == "The Yunque kettle was delivered late."
    summary, rows, out = run(documents, CleanSettings(spelling="report"))
    assert (summary["changed"], summary["reported"]) == ({}, {"spelling.en": 1})
    assert rows[-1]["text"] == "The Yunque kettle was delivred late."
    decision = pq.read_table(out / "decisions-00000.parquet").to_pylist()[0]
    assert (decision["action"], decision["after"]) == ("reported", "The Yunque kettle was delivered late.")


def test_traditional_characters_are_simplified_where_asked(write_documents: WriteDocuments) -> None:
    documents = write_documents([{"text": "請問這個商品怎麼退貨？"}])
    assert run(documents)[1][0]["text"] == "請問這個商品怎麼退貨？"
    summary, rows, _ = run(documents, CleanSettings(traditional="simplify"))
    assert rows[0]["text"] == "请问这个商品怎么退货？"
    assert summary["changed"] == {"chinese.simplified": 1}


def test_of_a_chain_of_likenesses_nothing_unlike_is_lost(write_documents: WriteDocuments) -> None:
    words = [f"word{n}" for n in range(140)]
    first = " ".join(words[:100])
    middle = " ".join([*words[8:100], *words[100:108]])  # alike to both neighbours, which are not alike
    last = " ".join([*words[16:100], *words[100:116]])
    documents = write_documents([{"text": text, "position": ""} for text in (first, middle, last)])
    summary, rows, out = run(documents, CleanSettings(near_duplicate_numbers="ignore"))
    assert [row["text"] for row in rows] == [first, last]
    assert summary["dropped"] == {"near_duplicate.near_copy": 1}
    assert pq.read_table(out / "decisions-00000.parquet").to_pylist()[0]["after"] == "d1"
