"""Champion and challenger, what served before, lineage, two versions side by side, and a registry on a server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.model.test_registry import candidate

from tulou.core.errors import ModelError
from tulou.model.registry import Candidate, Registry
from tulou.model.versions import compare_versions


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "files")


def test_a_later_version_challenges_until_it_is_promoted(registry: Registry, tmp_path: Path) -> None:
    for fingerprint in ("aa", "bb", "cc"):
        registry.register(candidate(tmp_path, "m", fingerprint))
    assert registry.find("m", "champion").version == 1
    assert registry.find("m", "challenger").version == 3
    assert [each.is_challenger for each in registry.versions("m")] == [False, False, True]
    registry.promote("m", 3)
    assert registry.find("m").version == 3
    with pytest.raises(ModelError, match="'m' has no challenger"):
        registry.find("m", "challenger")


def test_rolling_back_returns_to_what_served_and_skips_what_never_did(registry: Registry, tmp_path: Path) -> None:
    for fingerprint in ("aa", "bb", "cc", "dd"):
        registry.register(candidate(tmp_path, "steps", fingerprint))
    registry.promote("steps", 3)
    registry.promote("steps", 4)
    for expected in (3, 1):
        registry.rollback("steps")
        assert registry.find("steps").version == expected
    with pytest.raises(ModelError, match="has served no version before 1"):
        registry.rollback("steps")
    assert registry.find("steps").version == 1


def test_weights_are_kept_beside_the_graphs(registry: Registry, tmp_path: Path) -> None:
    made = candidate(tmp_path, "weighty", "aa")
    assert registry.register(made).weights is None
    other = candidate(tmp_path, "weighty", "bb")
    (other.folder / "weights").mkdir()
    (other.folder / "weights" / "model.safetensors").write_text("floats")
    shutil.rmtree(other.folder / "fp32")  # a candidate that another beats is measured, not kept
    version = registry.register(other)
    shutil.rmtree(other.folder)
    assert version.weights is not None
    assert (version.weights / "model.safetensors").read_text() == "floats"


def made_with(folder: Path, fingerprint: str, accuracy: float, epochs: int, rows: str) -> Candidate:
    made = candidate(folder, "compared", fingerprint, accuracy)
    metrics = {"accuracy": accuracy, "size_bytes": 4e6, "latency_ms_p50": 2.0} | ({"new": 1.0} if epochs > 5 else {})
    lineage = {
        "settings": {"train": {"epochs": epochs, "seed": 0}},
        "data": {"split.compared": rows},
        "code": {"tulou.model.training": "c0de"},
    }
    return Candidate(
        made.name, made.folder, fingerprint, "int8", made.table, metrics, accuracy, "within", lineage
    )  # fmt: skip


def test_two_versions_side_by_side(registry: Registry, tmp_path: Path) -> None:
    first = registry.register(made_with(tmp_path, "aa", 0.90, 5, "rows-1"))
    second = registry.register(made_with(tmp_path, "bb", 0.92, 8, "rows-2"))
    found = compare_versions(first, second)
    assert (found["a"]["version"], found["b"]["version"]) == (1, 2)
    metrics = {each["name"]: each for each in found["metrics"]}
    assert metrics["accuracy"]["difference"] == pytest.approx(0.02)
    assert metrics["new"] == {"name": "new", "a": None, "b": 1.0, "difference": None}
    assert found["settings"] == [{"key": "train.epochs", "a": 5, "b": 8}]
    assert found["data"] == [{"key": "split.compared", "a": "rows-1", "b": "rows-2"}]
    assert found["code"] == []


def test_mlflows_own_tools_see_settings_and_data(registry: Registry, tmp_path: Path) -> None:
    registry.register(made_with(tmp_path, "cc", 0.90, 7, "rows-3"))
    client = registry.client
    entry = client.get_model_version("compared", "3" if len(registry.versions("compared")) == 3 else "1")
    run = client.get_run(entry.run_id).data
    assert run.params["train.epochs"] == "7"
    assert run.tags["data.split.compared"] == "rows-3"
    assert run.metrics["accuracy"] == pytest.approx(0.9)


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ModelError, match=r"registry http://127\.0\.0\.1:9 does not answer"):
        Registry("http://u:secret@127.0.0.1:9", tmp_path).names()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server of its own. mlflow-skinny brings the command and not what it stands on."""
    if missing := [name for name in ("fastapi", "flask", "uvicorn") if not importlib.util.find_spec(name)]:
        pytest.skip(f"an MLflow server needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the MLflow server did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


@pytest.mark.slow
def test_a_registry_on_a_server_serves_two_machines_and_keeps_projects_apart(server: str, tmp_path: Path) -> None:
    here, there = Registry(server, tmp_path / "here", "shop."), Registry(server, tmp_path / "there", "shop.")
    stranger = Registry(server, tmp_path / "stranger", "bank.")
    here.register(candidate(tmp_path, "intents", "aa"))
    here.register(candidate(tmp_path, "intents", "bb"))
    stranger.register(candidate(tmp_path / "bank", "intents", "aa", 0.1))
    assert there.names() == ["intents"]
    fetched = there.find("intents")
    assert fetched.folder.is_relative_to(tmp_path / "there")
    assert (fetched.folder / "model.bin").read_text() == "aa int8"
    assert fetched.metrics == {"accuracy": 0.9}
    there.promote("intents", 2)
    assert here.find("intents").version == 2
    here.rollback("intents")
    assert there.find("intents").version == 1
    assert [each.metrics["accuracy"] for each in stranger.versions("intents")] == [0.1]
