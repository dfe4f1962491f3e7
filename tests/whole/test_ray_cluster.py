"""A Ray cluster that runs already, reached at ray://HOST:PORT: cleaning and training there as here.

Each in a process of its own, as `tulou run` is: Ray takes its settings from the environment when it is first imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from tests.data.conftest import write_documents
from tests.data.test_clean_engines import cleaned, documents
from tests.model.conftest import bert_folder
from tests.model.test_classify import WORDS, settings, write_rows
from tests.ray_head import ray_head

from tulou.core.progress import Silent
from tulou.data import parquet
from tulou.data.clean import pipeline
from tulou.data.engine import InProcess, RayCluster
from tulou.model.distributed import RayTeam
from tulou.model.finetune.classify import train_classifier

__all__ = ["bert_folder", "documents", "write_documents"]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ray_head() as found:
        yield found


def elsewhere(work: Callable[..., Any], *given: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result(timeout=240)


def clean_at(address: str, documents: Path, out: Path) -> Any:
    pipeline._SHARD_ROWS = 100  # as the fixture has it here
    parquet._GROUP_ROWS = 100
    with RayCluster(address) as engine:
        return cleaned(documents, out, engine)


def train_at(address: str, scratch: Path, given: dict[str, Any]) -> dict[str, Any]:
    return RayTeam(address, 2)(train_classifier, scratch=scratch, progress=Silent(), **given)


def test_cleaning_gives_what_one_process_gives(address: str, documents: Path, tmp_path: Path) -> None:
    one = cleaned(documents, tmp_path / "one", InProcess())
    assert elsewhere(clean_at, address, documents, tmp_path / "cluster") == one


def test_two_workers_train_a_classifier(address: str, bert_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    rows = write_rows(tmp_path / "rows", WORDS)
    given = {"examples": rows, "out": tmp_path / "out", "settings": settings(bert_folder, 3), "project": tmp_path}
    facts = elsewhere(train_at, address, tmp_path / "scratch", given)
    assert facts["workers"] == 2
    assert facts["validation_accuracy"] > 0.5, "three labels, so a third would be chance"
    assert (tmp_path / "out" / "head.safetensors").is_file()
