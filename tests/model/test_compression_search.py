"""The search over real candidates of a tiny classifier, and its rules by hand."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tulou.core.compression import Plan, plans
from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.progress import Silent, SilentBar
from tulou.core.settings import CompressSettings
from tulou.model.compress import compress_classifier
from tulou.model.compress.compare import choose, front, loss
from tulou.model.compress.picture import _ticks, pareto_picture
from tulou.model.compress.search import Bench, search


def row(name: str, accuracy: float, speed: float = 1.0, size: float = 1.0, **more: float) -> dict[str, Any]:
    return {
        "precision": name, "accuracy": accuracy, "speed_ratio": speed, "size_ratio": size,
        "latency_ms_p50": 10 / speed, "size_bytes": int(4e6 / size), **more,
    }  # fmt: skip


ROWS = [row("fp32", 0.95), row("int8", 0.949, 2, 4), row("prune+int8", 0.946, 4, 6), row("distill+int8", 0.90, 8, 8)]


@pytest.mark.parametrize(
    ("allowed", "chosen", "words"),
    [
        (0.005, "prune+int8", "4.0 times the speed"),
        (0.002, "int8", "loses 0.10%"),
        (0.06, "distill+int8", "loses 5.00%"),
        (0.0, "fp32", "int8 would lose 0.10%"),
    ],
)
def test_the_fastest_within_the_loss_serves(allowed: float, chosen: str, words: str) -> None:
    precision, reason = choose(ROWS, allowed)
    assert precision == chosen
    assert reason.startswith(f"{chosen} serves: ")
    assert words in reason


def test_what_is_not_faster_does_not_replace_the_baseline() -> None:
    slow = row("int8", 0.95, speed=0.7, size=4)
    assert choose([ROWS[0], slow], 0.01) == (
        "fp32", "fp32 serves: nothing within the allowed loss of 1.00% is faster",
    )  # fmt: skip


def test_luck_on_the_test_rows_does_not_hide_a_loss_on_the_validation_rows() -> None:
    baseline = row("fp32", 0.95, validation_accuracy=0.95)
    lucky = row("int8", 0.96, speed=2, validation_accuracy=0.93)
    assert loss(lucky, baseline) == pytest.approx(0.02)
    assert choose([baseline, lucky], 0.01)[0] == "fp32"


def test_the_front_holds_what_no_other_beats() -> None:
    beaten = row("bf16", 0.948, 1.5, 2)
    assert front([*ROWS, beaten]) == ["fp32", "int8", "prune+int8", "distill+int8"]


def test_the_picture_shows_every_candidate_and_marks_what_serves() -> None:
    picture = ET.fromstring(pareto_picture([*ROWS, row("a<b", 0.8, 0.5)], ["fp32", "int8"], "int8", 0.005))
    kinds = [each.get("class") for each in picture.iter("{http://www.w3.org/2000/svg}circle")]
    assert sorted(str(kind) for kind in kinds) == ["b", "b", "b", "c", "c", "s"]
    words = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"fp32", "int8", "prune+int8", "distill+int8", "a<b"} <= set(words)
    assert ET.fromstring(pareto_picture([row("fp32", 1.0), row("int8", 1.0)], [], "int8", 0.0)) is not None


def test_labels_of_the_picture_are_whole_and_cover_no_other() -> None:
    names = ["fp32", "bf16", "int4@64", "int8", "trim@0.25+prune@0.5+int8", "trim@0.25+distill@0.5+int8"]
    rows = [row(name, 0.95 - 0.0001 * place, 9 + 0.02 * place, 3) for place, name in enumerate(names)]
    picture = ET.fromstring(pareto_picture(rows, names, "trim@0.25+prune@0.5+int8", 0.005))
    spans = []
    for text in picture.iter("{http://www.w3.org/2000/svg}text"):
        if text.text in names:
            x, width = float(text.get("x", "")), 6.5 * len(text.text)
            left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "")] * width
            spans.append((left, left + width, float(text.get("y", ""))))
    assert all(left > 0 and right < 640 for left, right, _ in spans)
    assert not [
        (one, other)
        for place, one in enumerate(spans)
        for other in spans[:place]
        if abs(one[2] - other[2]) < 12 and min(one[1], other[1]) > max(one[0], other[0])
    ]


def test_ticks_of_the_picture_are_round() -> None:
    assert _ticks(0, 376) == [0, 100, 200, 300]
    assert _ticks(89.0, 89.9) == [89, 89.2, 89.4, 89.6, 89.8]
    assert _ticks(0, 3.1) == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def searched(
    classifier_folder: Path, labelled_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("search")
    settings = CompressSettings(
        methods=("int8", "bf16", "prune@0.5+int8", "distill@0.5", "int4"), max_accuracy_loss=0.2, recovery_epochs=4
    )
    out = folder / "out"
    out.mkdir()
    summary = compress_classifier(
        classifier_folder, labelled_folder, out, folder / "scratch", settings,
        name="intents", base="tiny", fingerprint="f00", progress=Silent(),
    )  # fmt: skip
    return out, summary


def test_every_candidate_is_measured_side_by_side(searched: tuple[Path, dict[str, Any]]) -> None:
    _, summary = searched
    table = {each["precision"]: each for each in summary["table"]}
    assert list(table) == ["fp32", "int8", "bf16", "prune@0.5+int8", "distill@0.5"]
    assert summary["left_out"] == [{"precision": "int4", "reason": "int4 is for chat models only"}]
    assert table["prune@0.5+int8"]["size_bytes"] < table["int8"]["size_bytes"] < table["fp32"]["size_bytes"]
    assert table["bf16"]["size_ratio"] > 1
    assert table["prune@0.5+int8"]["parameters"] > 0
    for each in table.values():
        assert each["latency_ms_p50"] > 0
        assert 0 <= each["validation_accuracy"] <= 1
    assert loss(table[summary["chosen"]], table["fp32"]) <= 0.2
    assert summary["reason"].startswith(f"{summary['chosen']} serves")


def test_the_front_is_kept_with_its_picture_and_the_weights_of_what_serves(
    searched: tuple[Path, dict[str, Any]],
) -> None:
    from tulou.model.encoder import load_encoder

    out, summary = searched
    kept = {path.name for path in out.iterdir() if path.is_dir()}
    assert kept == {"fp32", summary["chosen"], *summary["front"], "weights"}
    for name in kept - {"weights"}:
        precision = read_manifest(out / name).precision
        assert precision == ("fp32" if name == "distill@0.5" else name.rpartition("+")[2])
    assert load_encoder(out / "weights").head is not None
    saved = json.loads((out / "pareto.json").read_text(encoding="utf-8"))
    assert saved["front"] == summary["front"]
    picture = (out / summary["picture"]).read_text(encoding="utf-8")
    assert all(f">{each['precision']}</text>" in picture for each in summary["table"])


class Fakes:
    """Candidates that are files of a given size, made at a given cost, so that order and resumption can be watched."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.now = 0.0
        self.broken: dict[str, BaseException] = {}

    def bench(self) -> Bench:
        return Bench(
            self.shape, self.export, self.measure, lambda folder: lambda _: sum(range(30_000)), ["probe"], rounds=1
        )

    def shape(self, plan: Plan, folder: Path) -> Mapping[str, Any]:
        self.made.append(f"shape {plan.shape_name}")
        (folder / "model.safetensors").write_text(plan.shape_name)
        return {"parameters": 7}

    def export(self, plan: Plan, weights: Path, folder: Path) -> None:
        if plan.name in self.broken:
            raise self.broken[plan.name]
        self.now += 60
        self.made.append(plan.name)
        (folder / "openvino_model.xml").write_text("")
        (folder / "openvino_model.bin").write_text((weights / "model.safetensors").read_text())

    def measure(self, folder: Path) -> Mapping[str, Any]:
        return {"accuracy": 0.9}

    def search(self, folder: Path, methods: tuple[str, ...], minutes: float = 0.0) -> dict[str, Any]:
        trained, out = folder / "trained", folder / f"out-{len(self.made)}"
        trained.mkdir(exist_ok=True)
        out.mkdir()
        (trained / "model.safetensors").write_text("trained")
        settings = CompressSettings(methods=methods, max_minutes=minutes)
        candidates = plans(methods, "classify")
        return search(
            candidates, trained, self.bench(), out, folder / "scratch", settings, SilentBar(), clock=lambda: self.now
        )


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    fakes = Fakes()
    methods = ("int8", "prune@0.5+int8", "prune@0.5+bf16")
    fakes.broken = {"prune@0.5+bf16": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        fakes.search(tmp_path, methods)
    assert fakes.made == ["fp32", "int8", "shape prune@0.5", "prune@0.5+int8"]
    fakes.broken = {}
    summary = fakes.search(tmp_path, methods)
    assert fakes.made[4:] == ["prune@0.5+bf16"], "finished candidates and shared shapes are made once"
    assert [each["precision"] for each in summary["table"]] == ["fp32", "int8", "prune@0.5+int8", "prune@0.5+bf16"]


def test_when_the_time_is_over_the_rest_is_named_and_not_made(tmp_path: Path) -> None:
    fakes = Fakes()
    summary = fakes.search(tmp_path, ("int8", "bf16", "prune@0.5"), minutes=2)
    assert [each["precision"] for each in summary["table"]] == ["fp32", "int8"]
    assert [each["precision"] for each in summary["not_made"]] == ["bf16", "prune@0.5"]
    assert "2 minutes of model.compress.max_minutes" in summary["not_made"][0]["reason"]


def test_a_candidate_that_cannot_be_made_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    fakes = Fakes()
    fakes.broken = {"int8": ModelError("INT8 does not like this model")}
    summary = fakes.search(tmp_path, ("int8", "bf16"))
    assert [each["precision"] for each in summary["table"]] == ["fp32", "bf16"]
    assert summary["not_made"] == [{"precision": "int8", "reason": "INT8 does not like this model"}]
    fakes.broken = {"fp32": ModelError("no model at all")}
    (tmp_path / "other").mkdir()
    with pytest.raises(ModelError, match="no model at all"):
        fakes.search(tmp_path / "other", ("int8",))
