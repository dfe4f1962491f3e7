from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tulou.core.errors import DataError
from tulou.core.progress import Bar, Silent, SilentBar
from tulou.core.settings import ModelSettings
from tulou.core.types import LABELLED
from tulou.model.compress.encoder import export_encoder
from tulou.model.encoder import load_encoder
from tulou.model.finetune.classify import train_classifier
from tulou.model.vocabulary import open_tokenizer

WORDS = {
    "refund": ["money back", "refund me", "退款", "钱退给我"],
    "delivery": ["where is it", "parcel late", "快递", "没收到货"],
    "invoice": ["tax receipt", "invoice please", "发票", "开票"],
}


def write_rows(folder: Path, labels: dict[str, list[str]]) -> Path:
    rng = random.Random(0)
    rows = []
    for number in range(150):
        label = rng.choice(list(labels))
        text = f"{rng.choice(['hi', 'hello', '你好', '您好'])} {rng.choice(labels[label])} {rng.randint(1, 99)}"
        split = "train" if number % 5 else "validation"
        rows.append(
            {"id": str(number), "document_id": "d", "text": text, "label": label, "language": "zh", "split": split}
        )
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=LABELLED), folder / "labelled-0.parquet")
    return folder


def settings(base: Path, epochs: int = 6) -> ModelSettings:
    return ModelSettings(
        task="classify", base=str(base), source="tickets", epochs=epochs, batch_size=16, learning_rate=2e-3
    )


class Killed(Exception):
    pass


class KilledAfter(Silent):
    """Progress that ends the run after so many rows, as a kill would."""

    def __init__(self, rows: int) -> None:
        self.left = rows

    def bar(self, title: str, total: float | None = None, unit: str = "") -> Any:
        outer = self

        class Fuse(SilentBar):
            def advance(self, n: float = 1) -> None:
                outer.left -= int(n)
                if outer.left <= 0:
                    raise Killed

        @contextmanager
        def bar() -> Iterator[Bar]:
            yield Fuse()

        return bar()


def test_classifier_learns_labels_and_the_characters_its_base_did_not_know(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    facts = train_classifier(rows, tmp_path / "out", tmp_path, settings(bert_folder), tmp_path, Silent())
    assert facts["validation_accuracy"] > 0.9
    assert facts["labels"] == ["delivery", "invoice", "refund"]
    assert facts["characters_added"] > 8
    tokenizer = open_tokenizer(tmp_path / "out")
    assert tokenizer.token_to_id("[UNK]") not in tokenizer.encode("退款").ids
    assert load_encoder(tmp_path / "out").head is not None


def test_transformers_loads_body_and_tokenizer_of_a_classifier(bert_folder: Path, tmp_path: Path) -> None:
    import transformers

    rows = write_rows(tmp_path / "rows", WORDS)
    train_classifier(rows, tmp_path / "out", tmp_path, settings(bert_folder, 1), tmp_path, Silent())
    body = transformers.AutoModel.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("退款 money")["input_ids"] == open_tokenizer(tmp_path / "out").encode("退款 money").ids
    assert body.get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert body.config.id2label[0] == "delivery"


def test_a_classifier_exports_with_its_labels_and_length(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    short = settings(bert_folder, 1).model_copy(update={"max_tokens": 20})
    train_classifier(rows, tmp_path / "out", tmp_path, short, tmp_path, Silent())
    manifest = export_encoder(tmp_path / "out", tmp_path / "served")
    assert (manifest.task, manifest.labels) == ("classify", ("delivery", "invoice", "refund"))
    assert manifest.max_tokens == 20, "a classifier reads what it was trained to read"


def test_a_killed_run_resumes_and_ends_with_the_same_weights(bert_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    rows = write_rows(tmp_path / "rows", WORDS)
    chosen = settings(bert_folder, 3)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    train_classifier(rows, tmp_path / "a", tmp_path / "whole", chosen, tmp_path, Silent())
    with pytest.raises(Killed):
        train_classifier(rows, tmp_path / "b", tmp_path / "cut", chosen, tmp_path, KilledAfter(200))
    assert not (tmp_path / "b").exists()
    facts = train_classifier(rows, tmp_path / "b", tmp_path / "cut", chosen, tmp_path, Silent())
    assert len(facts["history"]) == 3
    whole, resumed = (load_file(tmp_path / name / "head.safetensors") for name in "ab")
    assert whole["weight"].equal(resumed["weight"])


def test_one_label_is_no_task(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", {"refund": WORDS["refund"]})
    with pytest.raises(DataError, match=r"needs at least two labels, but the 120 training rows have \['refund'\]"):
        train_classifier(rows, tmp_path / "out", tmp_path, settings(bert_folder), tmp_path, Silent())


def test_rows_without_a_needed_column_are_refused_by_name(bert_folder: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1"], "text": ["x"]}), tmp_path / "labelled-0.parquet")
    with pytest.raises(DataError, match="has no column 'document_id'; it has id, text"):
        train_classifier(tmp_path, tmp_path / "out", tmp_path, settings(bert_folder), tmp_path, Silent())
