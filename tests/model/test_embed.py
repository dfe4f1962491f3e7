from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import ModelSettings
from tulou.core.tables import CONVERSATION, DOCUMENT, PAIR, PASSAGE
from tulou.model.compress.encoder import export_encoder
from tulou.model.encoder import load_encoder, read_pooling
from tulou.model.finetune.embed import train_encoder
from tulou.model.learners import Finder
from tulou.model.pairs import search_pairs
from tulou.model.served import ServedEncoder
from tulou.model.vocabulary import open_tokenizer

TOPICS = [
    "money back",
    "late parcel",
    "tax receipt",
    "gift card",
    "size chart",
    "broken lamp",
    "new address",
    "lost key",
]


def write_pairs(folder: Path) -> Path:
    rows = [
        {
            "id": f"{topic}-{number}", "document_id": topic, "question": f"{opening} {topic} {number}",
            "passage": f"about {TOPICS[place - 3]}", "language": "en", "split": "validation" if number > 6 else "train",
        }
        for place, topic in enumerate(TOPICS)  # what answers a question has none of its words
        for number, opening in enumerate(["hi", "hello", "please", "um", "so", "and", "yes", "oh", "ah"])
    ]  # fmt: skip
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=PAIR), folder / "pairs-0.parquet")
    return folder


def chosen(base: Path, **more: Any) -> ModelSettings:
    given = {"epochs": 20, "batch_size": 16, "learning_rate": 3e-3, **more}
    return ModelSettings(task="embed", base=str(base), pairs=("passages",), **given)


def test_an_encoder_learns_which_passage_answers_which_question(encoder_folder: Path, tmp_path: Path) -> None:
    facts = train_encoder(
        write_pairs(tmp_path / "pairs"), tmp_path / "out", tmp_path / "s", chosen(encoder_folder), tmp_path, Silent()
    )
    assert facts["passages"] == 8
    assert facts["mrr"] > max(0.8, facts["base_mrr"] + 0.2)
    assert read_pooling(tmp_path / "out") == read_pooling(encoder_folder)
    export_encoder(tmp_path / "out", tmp_path / "served")
    served = ServedEncoder(tmp_path / "served")
    encoder, tokenizer = load_encoder(tmp_path / "out"), open_tokenizer(tmp_path / "out")
    ids = torch.tensor([tokenizer.encode("hi money back").ids])
    with torch.no_grad():
        vector = encoder(ids, torch.ones_like(ids))[0].numpy()
    np.testing.assert_allclose(served("hi money back"), vector, atol=1e-3)


def test_training_that_helps_nothing_keeps_the_base(bert_folder: Path, tmp_path: Path) -> None:
    wild = chosen(bert_folder, epochs=1, learning_rate=30.0)
    facts = train_encoder(write_pairs(tmp_path / "pairs"), tmp_path / "out", tmp_path / "s", wild, tmp_path, Silent())
    if facts["best_step"] == 0:
        assert facts["mrr"] == facts["base_mrr"]
    assert facts["mrr"] >= facts["base_mrr"]


def test_an_encoder_learns_by_lora(bert_folder: Path, tmp_path: Path) -> None:
    light = chosen(bert_folder, method="lora", learning_rate=1e-2)
    facts = train_encoder(write_pairs(tmp_path / "pairs"), tmp_path / "out", tmp_path / "s", light, tmp_path, Silent())
    assert facts["mrr"] > facts["base_mrr"]


def test_a_passage_that_answers_two_questions_is_no_wrong_answer(bert_folder: Path) -> None:
    finder = Finder(load_encoder(bert_folder), 0.05)
    ids = torch.tensor([[2, 5, 3], [2, 6, 3]])
    same = torch.tensor([[2, 7, 3], [2, 7, 3]])
    ones = torch.ones_like(ids)
    with torch.no_grad():
        loss = finder(ids, ones, same, ones, torch.tensor([4, 4]))
        counted = finder(ids, ones, same, ones, torch.tensor([4, 5]))
    assert float(loss) == 0
    assert float(counted) == pytest.approx(0.693, abs=0.01)


def write_passages(folder: Path) -> Path:
    texts = {
        "returns": "You may return an order within thirty days.",
        "delivery": "Delivery by courier takes two days.",
    }
    rows = [
        {
            "id": f"p-{name}", "document_id": f"d-{name}", "source": "knowledge", "uri": f"{name}.md", "position": "",
            "title": name.title(), "heading": "", "text": text, "language": "en", "modified_at": "",
        }
        for name, text in texts.items()
    ]  # fmt: skip
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=PASSAGE), folder / "passages-0.parquet")
    return folder


def write_clicks(folder: Path, clicks: list[tuple[str, str | None]]) -> Path:
    rows = [
        {**dict.fromkeys(DOCUMENT.names, ""), "id": str(number), "text": question, "label": target, "subject_id": None}
        for number, (question, target) in enumerate(clicks)
    ]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=DOCUMENT), folder / "documents-0.parquet")
    return folder


def title_and_text(row: Any) -> str:
    return f"{row['title']}\n{row['text']}"


def test_pairs_come_from_clicks_by_whatever_name_and_from_answers_people_liked(tmp_path: Path) -> None:
    clicks = write_clicks(
        tmp_path / "clicks",
        [("send back", "returns.md"), ("when", "d-delivery"), ("x", "Returns"), ("y", "nowhere"), ("z", None)],
    )
    said = [("system", "s"), ("user", "Documents:\n\nQuestion: how long?"), ("assistant", "Two days.")]
    row = {
        "id": "f", "document_id": "d-delivery", "language": "en", "split": "train",
        "messages": [{"role": role, "content": content} for role, content in said],
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row], schema=CONVERSATION), tmp_path / "feedback-000001.parquet")
    facts = search_pairs(
        write_passages(tmp_path / "passages"), ["X?"], tmp_path / "out", 0, title_and_text,
        clicks=clicks, feedback=tmp_path / "feedback-000001.parquet",
    )  # fmt: skip
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert {(row["question"], row["document_id"]) for row in rows} == {
        ("send back", "d-returns"), ("when", "d-delivery"), ("how long?", "d-delivery"),
    }  # fmt: skip
    assert (facts["clicks"], facts["feedback"], facts["click_on_unknown"], facts["click_without_target"]) == (
        2,
        1,
        1,
        1,
    )
    assert facts["removed_like_exam"] == 1
    assert rows[0]["passage"] == "Returns\nYou may return an order within thirty days."


def test_pairs_are_made_of_the_passages_themselves(tmp_path: Path) -> None:
    facts = search_pairs(
        write_passages(tmp_path / "passages"), [], tmp_path / "out", 0, title_and_text, makes_questions=True
    )
    assert facts["passages"] == facts["pairs"] >= 2


def test_no_pairs_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 passages, clicks and feedback give no pair of question and passage"):
        search_pairs(write_passages(tmp_path / "passages"), [], tmp_path / "out", 0, title_and_text)
