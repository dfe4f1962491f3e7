"""The benchmark of compression on a shallow encoder and a few rows: real models, every figure there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.model.classifier import labelled_rows
from typer.testing import CliRunner

from tulou.bench.intents import write_labelled
from tulou.cli import app
from tulou.core.errors import DataError


def write_csv(folder: Path, column: str = "category") -> Path:
    folder.mkdir()
    for name, count in (("train", 200), ("test", 60)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", column])
            writer.writerows([row["text"], row["label"]] for row in labelled_rows(count, seed=len(name)))
    return folder


def test_published_files_become_rows_with_a_validation_split(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data")
    assert write_labelled(data, tmp_path / "rows") == {"train": 190, "validation": 10, "test": 60}
    rows = pq.read_table(tmp_path / "rows" / "labelled-00000.parquet").to_pylist()
    assert write_labelled(data, tmp_path / "again") == {"train": 190, "validation": 10, "test": 60}
    assert pq.read_table(tmp_path / "again" / "labelled-00000.parquet").to_pylist() == rows
    assert write_labelled(data, tmp_path / "few", limit=100)["train"] == 95


def test_what_is_missing_in_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.csv does not exist; --data names a folder"):
        write_labelled(tmp_path, tmp_path / "rows")
    with pytest.raises(DataError, match="needs a column 'text' and one of category, label, intent"):
        write_labelled(write_csv(tmp_path / "data", column="class"), tmp_path / "rows")


@pytest.mark.slow
def test_the_benchmark_measures_size_latency_and_accuracy(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data")
    command = [
        "bench",
        "compress",
        "--layers",
        "2",
        "--data",
        str(data),
        "--epochs",
        "1",
        "--keep",
        str(tmp_path / "k"),
    ]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.output)
    assert set(figures) == {"machine", "latency", "accuracy", "seconds"}
    rows = {row["name"]: row for row in figures["latency"]["rows"]}
    assert rows["torch fp32 eager"]["speed_ratio"] == 1
    assert rows["fp32"]["cosine"] > 0.9999
    assert rows["int8"]["cosine"] > 0.98
    assert rows["int8"]["size_ratio"] > 3.5
    assert rows["distill@0.5+prune@0.5+int8"]["size_bytes"] < rows["distill@0.5+int8"]["size_bytes"]
    accuracy = figures["accuracy"]
    assert accuracy["rows"] == {"train": 190, "validation": 10, "test": 60}
    assert {row["name"] for row in accuracy["table"]} >= {"fp32", "int8", "trim@0.25+prune@0.5+int8"}
    assert all(0 <= row["accuracy"] <= 1 for row in accuracy["table"])
