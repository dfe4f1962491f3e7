"""`tulou models` on a project with two registered versions of a real, tiny classifier."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.model.conftest import bert_folder, classifier_folder, labelled_folder  # noqa: F401
from typer.testing import CliRunner

from tulou.bootstrap.project import Project
from tulou.bootstrap.release import release
from tulou.cli import app
from tulou.core.errors import TulouError
from tulou.core.progress import Silent
from tulou.core.settings import CompressSettings
from tulou.core.stage import write_json

TOML = """
[[data.source]]
name = "tickets"
url = "tickets.csv"
label = "intent"

[model.intents]
task = "classify"
source = "tickets"
"""


@pytest.fixture(scope="module")
def project(
    classifier_folder: Path,  # noqa: F811
    labelled_folder: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The stages' folders as a run leaves them, twice: the second time with another seed and other rows."""
    from tulou.model.compress import compress_classifier

    folder = tmp_path_factory.mktemp("project")
    (folder / "tulou.toml").write_text(TOML, encoding="utf-8")
    opened = Project.open(folder)
    for number, methods in ((1, ("int8", "int4")), (2, ("prune@0.5+int8",))):
        split = {"name": "split.intents", "fingerprint": f"rows{number}", "inputs": {}, "settings": {"seed": number}}
        write_json(opened.stages / "split.intents" / f"rows{number}" / "stage.json", split)
        out = opened.stages / "compress.intents" / f"made{number}"
        out.mkdir(parents=True)
        settings = CompressSettings(methods=methods, max_accuracy_loss=0.5, recovery_epochs=2)
        summary = compress_classifier(
            classifier_folder, labelled_folder, out, folder / "scratch", settings,
            name="intents", base="tiny", fingerprint=f"made{number}", progress=Silent(),
        )  # fmt: skip
        manifest = {
            "name": "compress.intents", "fingerprint": f"made{number}", "inputs": {"split.intents": f"rows{number}"},
            "settings": settings.model_dump(), "code": {"tulou.model.compress": "c0de"}, "summary": summary,
        }  # fmt: skip
        write_json(out / "stage.json", manifest)
        release(opened.registry, "intents", out, 1.0)
        shutil.rmtree(folder / "scratch")
    return folder


def tulou(project: Path, *words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["models", *words, "--project", str(project), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def refusal(project: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["models", *words, "--project", str(project)])
    assert isinstance(done.exception, TulouError)
    return str(done.exception)


def test_compare_shows_what_differs(project: Path) -> None:
    found = tulou(project, "compare", "intents@1", "intents@champion")
    assert set(found) == {"a", "b", "verdict", "metrics", "settings", "data", "code"}
    assert (found["a"]["version"], found["b"]["version"], found["b"]["is_champion"]) == (1, 2, True)
    assert {each["name"] for each in found["metrics"]} >= {"size_bytes", "latency_ms_p50", "accuracy", "macro_f1"}
    assert found["settings"] == [{"key": "compress.methods", "a": ["int8", "int4"], "b": ["prune@0.5+int8"]}]
    assert found["data"] == [{"key": "split.intents", "a": "rows1", "b": "rows2"}]
    assert found["code"] == []
    shown = CliRunner().invoke(app, ["models", "compare", "intents@1", "intents@2", "--project", str(project)])
    assert shown.exit_code == 0
    assert "compress.methods" in shown.output
    assert "the same code" in shown.output
    assert "\nrows" not in shown.output, "what did not change is no row of the table"
    assert found["verdict"].startswith("intents 2, beside intents 1: ")
    assert found["verdict"].endswith("; the rows that they were judged on are not the same")
    assert found["verdict"] in " ".join(shown.output.split())


def test_show_names_the_methods_that_were_left_out(project: Path) -> None:
    found = tulou(project, "show", "intents", "--version", "1")
    assert found["left_out"] == [{"precision": "int4", "reason": "int4 is for chat models only"}]


def test_what_is_not_there_is_said(project: Path) -> None:
    assert "no version 9" in refusal(project, "compare", "intents@1", "intents@9")
    assert "has no challenger" in refusal(project, "compare", "intents", "intents@challenger")


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("openvino", {"openvino_model.xml", "openvino_model.bin", "tokenizer.json", "model.json"}),
        ("safetensors", {"model.safetensors", "head.safetensors", "config.json", "tokenizer.json"}),
        ("onnx", {"model.onnx", "tokenizer.json", "model.json"}),
    ],
)
def test_a_version_is_exported_in_each_format(project: Path, tmp_path: Path, kind: str, files: set[str]) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    found = tulou(project, "export", "intents", "--format", kind, "--to", str(tmp_path / "out"))
    assert set(found) == {"name", "version", "format", "folder", "files"}
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files <= set(found["files"]) == written
    again = refusal(project, "export", "intents", "--format", kind, "--to", str(tmp_path / "out"))
    assert "is not empty; name a new folder" in again


def test_an_unknown_format_is_named(project: Path, tmp_path: Path) -> None:
    said = refusal(project, "export", "intents", "--format", "gguf", "--to", str(tmp_path / "out"))
    assert "unknown format 'gguf'; choose from openvino, onnx, safetensors" in said


def test_rollback_returns_to_what_served(project: Path) -> None:
    assert tulou(project, "rollback", "intents") == {"name": "intents", "champion": 1}
    assert tulou(project, "promote", "intents", "2") == {"name": "intents", "champion": 2}
