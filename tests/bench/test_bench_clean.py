"""The whole benchmark on a few documents: real processes, real outputs, every figure there."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tulou.bench.memory import output_digest
from tulou.bench.peers import PEERS, SCRIPTS
from tulou.cli import app
from tulou.core.tables import DECISION


def _output(folder: Path, texts: list[str], files: int = 1) -> Path:
    folder.mkdir()
    size = -(-len(texts) // files)
    for number in range(files):
        part = texts[number * size : (number + 1) * size]
        rows = pa.table({"id": [f"id-{text}" for text in part], "text": part})
        pq.write_table(rows, folder / f"documents-{number:05d}.parquet")
    pq.write_table(DECISION.empty_table(), folder / "decisions-00000.parquet")
    return folder


def test_the_digest_sees_texts_and_order_but_not_files(tmp_path: Path) -> None:
    texts = ["one", "two", "三"]
    digest = output_digest(_output(tmp_path / "a", texts))
    assert output_digest(_output(tmp_path / "b", texts, files=2)) == digest
    assert output_digest(_output(tmp_path / "c", texts[::-1])) != digest
    assert output_digest(_output(tmp_path / "d", [*texts[:2], "叁"])) != digest


def test_every_peer_has_its_script_and_pinned_requirements() -> None:
    for peer in PEERS:
        assert (SCRIPTS / peer.script).exists()
        lines = (SCRIPTS / f"requirements-{peer.name}.txt").read_text(encoding="utf-8").splitlines()
        assert all("==" in line for line in lines if line and not line.startswith("#"))


def test_a_folder_with_other_peoples_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    done = CliRunner().invoke(app, ["bench", "clean", "--rows", "100", "--keep", str(tmp_path)])
    assert done.exit_code != 0
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_the_benchmark_measures_the_real_pipeline(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "clean", "--rows", "5500", "--json", "--keep", str(tmp_path)])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.output)
    ours = figures["tulou"]
    assert figures["rows"] == 5500
    assert {stage["name"] for stage in ours["stages"]} == {"collect.corpus", "clean.corpus"}
    assert len(ours["runs_s"]) == 3
    assert ours["documents_per_s"] > 0
    assert ours["peak_pss_bytes"] > 50_000_000
    quality = ours["quality"]
    assert 4000 < quality["kept"] < 5500
    assert quality["near_duplicates"]["recall"] >= 0.95
    assert quality["exact_duplicates"]["same"]["recall"] == 1
    assert quality["lost"]["merged_share"] < 0.005
