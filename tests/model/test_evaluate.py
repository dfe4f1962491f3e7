from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tulou.core.errors import DataError
from tulou.core.tables import LABELLED
from tulou.model.compress.compare import choose, compare
from tulou.model.evaluate import evaluate_classifier, score_labels


def test_scores_by_hand() -> None:
    truth = ["a", "a", "a", "b", "c"]
    guesses = ["a", "a", "b", "b", "b"]
    scores = score_labels(truth, guesses, ["zh", "en", "en", "zh", "zh"])
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["macro_f1"] == pytest.approx((0.8 + 0.5 + 0.0) / 3)
    assert scores["by_language"] == {"en": 0.5, "zh": pytest.approx(2 / 3)}
    assert {"label": "a", "predicted": "b", "count": 1} in scores["confusions"]


def test_only_the_asked_split_is_scored(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "document_id": "d", "text": text, "label": "x", "language": "en", "split": split}
        for n, (text, split) in enumerate((("x", "test"), ("y", "train"), ("x", "test")))
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=LABELLED), tmp_path / "labelled-0.parquet")
    assert evaluate_classifier(lambda text: text, tmp_path)["accuracy"] == 1
    assert evaluate_classifier(lambda text: text, tmp_path)["rows"] == 2
    with pytest.raises(DataError, match="has no rows of split 'validation'"):
        evaluate_classifier(lambda text: text, tmp_path, "validation")


def row(precision: str, accuracy: float, key: str = "accuracy") -> dict[str, object]:
    return {"precision": precision, key: accuracy, "size_ratio": 3.9, "speed_ratio": 2.0}


@pytest.mark.parametrize(
    ("fp32", "int8", "allowed", "chosen"),
    [(0.95, 0.946, 0.005, "int8"), (0.95, 0.944, 0.005, "fp32"), (0.95, 0.97, 0.0, "int8"), (0.5, 0.5, 0.0, "int8")],
)
def test_int8_serves_only_within_the_allowed_loss(fp32: float, int8: float, allowed: float, chosen: str) -> None:
    for key in ("accuracy", "token_accuracy"):
        precision, reason = choose([row("fp32", fp32, key), row("int8", int8, key)], allowed)
        assert precision == chosen
        assert reason.startswith(f"{chosen} serves")


def test_without_compression_the_baseline_serves_and_says_so() -> None:
    assert choose([row("fp32", 0.9)], 0.005) == ("fp32", "fp32 serves: no compression was asked for")


def test_comparison_measures_size_speed_and_quality(tmp_path: Path) -> None:
    folders: dict[str, Path] = {"fp32": tmp_path / "fp32", "int8": tmp_path / "int8"}
    for folder, size in zip(folders.values(), (4000, 1000), strict=True):
        folder.mkdir()
        (folder / "openvino_model.xml").write_text("")
        (folder / "openvino_model.bin").write_bytes(bytes(size))
    calls: list[str] = []

    def open_timed(folder: Path) -> Callable[[object], object]:
        def run(_: object) -> int:
            calls.append(folder.name)
            return sum(range(100_000 if folder.name == "fp32" else 1000))

        return run

    rows = compare(folders, open_timed, ["probe"], lambda folder: {"accuracy": 0.9}, rounds=5)
    assert rows[1]["size_ratio"] == 4
    assert rows[1]["speed_ratio"] > 2
    assert rows[1]["accuracy"] == 0.9
    assert calls[:2] == ["fp32", "int8"], "candidates take turns"
