"""The benchmark of training on a tiny encoder and a few rows: real loops, every figure there, nothing done twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.bench.test_bench_compress import write_csv
from tests.model.classifier import WORDS
from typer.testing import CliRunner

from tulou.bench.train import accuracy_by_seed, bench_train
from tulou.cli import app
from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import ModelSettings, PretrainSettings


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer and 32 dimensions that knows the words of the rows."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    known = sorted({word for texts in WORDS.values() for text in texts for word in text.split()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *known]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_speeds_are_those_of_both_loops_and_ratios_follow_from_them(base: Path, tmp_path: Path) -> None:
    tiny = PretrainSettings(width=32, layers=1, vocabulary=400, row_tokens=32)
    figures = bench_train(tmp_path, base=str(base), batch_size=4, steps=2, size=tiny)
    assert set(figures) == {"machine", "finetune", "pretrain", "accuracy", "seconds"}
    assert figures["accuracy"] is None
    assert figures["finetune"]["data"] == "generated"
    assert figures["pretrain"]["vocabulary"] == 400
    for part, unit, loops in (("finetune", "samples_s", 3), ("pretrain", "tokens_s", 5)):
        ours, *plain = figures[part]["table"]
        assert len(plain) == loops - 1
        assert ours["name"].startswith("tulou")
        assert ours["ratio"] == 1
        for row in (ours, *plain):
            assert len(row["turns"]) == 3
            assert min(row["turns"]) <= row[unit] <= max(row["turns"])
            assert row["ratio"] == pytest.approx(ours[unit] / row[unit], rel=0.02, abs=0.01)


def test_accuracy_of_each_seed_is_kept_and_not_made_again(base: Path, tmp_path: Path) -> None:
    data, keep = write_csv(tmp_path / "data"), tmp_path / "kept"
    words = f"--base {base} --data {data} --batch 8 --steps 1 --epochs 6 --seeds 1 --keep {keep}"
    done = CliRunner().invoke(app, ["bench", "train", *words.split()])
    assert done.exit_code == 0, done.output
    assert "Test accuracy: 190 rows, 6 epochs" in done.output
    (trained,) = keep.glob("accuracy/*/seed-0/trained.json")
    made_at = trained.stat().st_mtime_ns

    settings = ModelSettings(task="classify", source="data", base=str(base), epochs=6, batch_size=8)
    figures = accuracy_by_seed(data, keep / "accuracy", settings, 2, Silent())
    assert trained.stat().st_mtime_ns == made_at
    assert figures["rows"] == {"train": 190, "validation": 10, "test": 60}
    assert [run["seed"] for run in figures["seeds"]] == [0, 1]
    assert f"{figures['seeds'][0]['fp32']:.2%}" in done.output
    for precision in ("fp32", "int8"):
        scores = [run[precision] for run in figures["seeds"]]
        assert min(scores) > 0.5  # of three labels
        assert figures["mean"][precision] == pytest.approx(sum(scores) / 2)
        assert figures["spread"][precision] == pytest.approx(max(scores) - min(scores))


def test_seeds_without_data_and_data_without_rows_are_refused(base: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "train", "--seeds", "3"])
    assert done.exit_code == 2
    assert "--seeds needs --data" in done.output
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("text,category\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.csv has no rows to learn from"):
        bench_train(tmp_path / "work", data=tmp_path, base=str(base))
