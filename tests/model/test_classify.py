from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.model.kills import Killed, KilledAt

from tulou.core.errors import DataError, ModelError
from tulou.core.progress import Silent
from tulou.core.settings import ModelSettings
from tulou.core.tables import LABELLED
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


NUMBERED = """
import sys
from pathlib import Path
from tulou.model.vocabulary import open_tokenizer, unknown_characters
texts = ["退货运费谁来付", "发票去哪里下载", "会员积分怎么用", "签收几天可以退"] * 2
print("".join(unknown_characters(open_tokenizer(Path(sys.argv[1])), texts)))
"""


def test_new_characters_are_numbered_alike_in_every_process(bert_folder: Path) -> None:
    def order(hash_seed: str) -> str:
        made = subprocess.run(
            [sys.executable, "-c", NUMBERED, str(bert_folder)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True, check=True, encoding="utf-8",
        )  # fmt: skip
        return made.stdout

    assert len(order("1")) > 20
    assert order("1") == order("2")


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
    chosen = settings(bert_folder, 3).model_copy(update={"checkpoint_steps": 5})
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    train_classifier(rows, tmp_path / "a", tmp_path / "whole", chosen, tmp_path, Silent())
    with pytest.raises(Killed):
        train_classifier(rows, tmp_path / "b", tmp_path / "cut", chosen, tmp_path, KilledAt(14))
    assert not (tmp_path / "b").exists()
    facts = train_classifier(rows, tmp_path / "b", tmp_path / "cut", chosen, tmp_path, Silent())
    assert sum("validation" in point for point in facts["history"]) == 3
    for file in ("head.safetensors", "model.safetensors"):
        whole, resumed = (load_file(tmp_path / name / file) for name in "ab")
        assert all(whole[name].equal(resumed[name]) for name in whole)


def test_one_label_is_no_task(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", {"refund": WORDS["refund"]})
    with pytest.raises(DataError, match=r"needs at least two labels, but the 120 training rows have \['refund'\]"):
        train_classifier(rows, tmp_path / "out", tmp_path, settings(bert_folder), tmp_path, Silent())


def test_rows_without_a_needed_column_are_refused_by_name(bert_folder: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1"], "text": ["x"]}), tmp_path / "labelled-0.parquet")
    with pytest.raises(DataError, match="has no column 'document_id'; it has id, text"):
        train_classifier(tmp_path, tmp_path / "out", tmp_path, settings(bert_folder), tmp_path, Silent())


def test_rows_without_label_are_refused_by_number_and_name(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    table = pq.read_table(rows / "labelled-0.parquet").to_pylist()
    for row in table[1:3]:
        row["label"] = ""
    pq.write_table(pa.Table.from_pylist(table, schema=LABELLED), rows / "labelled-0.parquet")
    with pytest.raises(DataError, match="2 of 120 training rows have no label, the first is '1'"):
        train_classifier(rows, tmp_path / "out", tmp_path, settings(bert_folder), tmp_path, Silent())


def test_without_validation_rows_the_last_weights_are_kept_and_no_accuracy_is_claimed(
    bert_folder: Path, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    table = [{**row, "split": "train"} for row in pq.read_table(rows / "labelled-0.parquet").to_pylist()]
    pq.write_table(pa.Table.from_pylist(table, schema=LABELLED), rows / "labelled-0.parquet")
    facts = train_classifier(rows, tmp_path / "out", tmp_path, settings(bert_folder, 1), tmp_path, Silent())
    assert (facts["validation_accuracy"], facts["best_step"]) == (None, None)
    assert load_encoder(tmp_path / "out").head is not None


def test_a_base_without_tokenizer_is_one_sentence(bert_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(bert_folder, tmp_path / "mute", ignore=shutil.ignore_patterns("tokenizer*"))
    rows = write_rows(tmp_path / "rows", WORDS)
    with pytest.raises(ModelError, match=r"mute has no tokenizer\.json; save its fast tokenizer with"):
        train_classifier(rows, tmp_path / "out", tmp_path, settings(tmp_path / "mute"), tmp_path, Silent())


def test_texts_longer_than_the_base_can_place_are_refused(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    long = settings(bert_folder).model_copy(update={"max_tokens": 65})
    with pytest.raises(ModelError, match="max_tokens 65 is beyond the 64 positions of"):
        train_classifier(rows, tmp_path / "out", tmp_path, long, tmp_path, Silent())


@pytest.mark.parametrize("change", [{"accumulate": 4}, {"gradient_checkpointing": True}])
def test_ways_to_save_memory_learn_the_same(bert_folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    made = settings(bert_folder, 2)
    plain = train_classifier(rows, tmp_path / "a", tmp_path / "plain", made, tmp_path, Silent())
    sparing = train_classifier(
        rows, tmp_path / "b", tmp_path / "sparing", made.model_copy(update=change), tmp_path, Silent()
    )
    losses = [[point["loss"] for point in facts["history"]] for facts in (plain, sparing)]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
