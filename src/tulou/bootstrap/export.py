"""A registered version as files for elsewhere: OpenVINO as it serves, ONNX, or the weights as safetensors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tulou.bootstrap.project import Project
from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.model.registry import ModelVersion


def export_version(project: Project, name: str, version: str | None, kind: str, to: Path) -> ModelVersion:
    """Write a version (by number or alias, by default the champion) to the folder `to`, which must be new or empty.

    Raises `ModelError` for a format that there is not, or that this model cannot be had in.
    """
    if kind not in FORMATS:
        raise ModelError(f"unknown format {kind!r}; choose from {', '.join(FORMATS)}")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ModelError(f"{to} is not empty; name a new folder")
    found = project.registry.find(name, version)
    FORMATS[kind](project, found, to)
    return found


def _openvino(_: Project, version: ModelVersion, to: Path) -> None:
    engine = read_manifest(version.folder).engine
    if engine != "openvino":
        raise ModelError(
            f"version {version.version} of {version.name!r} is for the {engine} engine and no OpenVINO graph "
            f"({version.verdict}); export it as safetensors"
        )
    shutil.copytree(version.folder, to, dirs_exist_ok=True)


def _safetensors(project: Project, version: ModelVersion, to: Path) -> None:
    shutil.copytree(_weights(project, version), to, dirs_exist_ok=True)


def _onnx(project: Project, version: ModelVersion, to: Path) -> None:
    from tulou.model.compress.onnx import export_onnx

    served = read_manifest(version.folder)
    if served.task in ("chat", "rerank"):
        raise ModelError(
            f"{version.name!r} is a {served.task} model, and ONNX is for classifiers and embedders; "
            "export it as openvino, or as safetensors for vLLM and others"
        )
    weights = _weights(project, version)
    export_onnx(weights, to, name=version.name, fingerprint=version.fingerprint, base=served.base)


def _weights(project: Project, version: ModelVersion) -> Path:
    """The float weights of a version: registered with it, or, of a model that is taken as it is, its base."""
    if version.weights is not None:
        return version.weights
    served = read_manifest(version.folder)
    if served.task in ("embed", "rerank"):
        from tulou.model.base import resolve_base

        return resolve_base(served.base, project.folder)
    raise ModelError(
        f"version {version.version} of {version.name!r} was registered without its weights, by an earlier Tulou; "
        f"`tulou run --redo compress.{version.name}` makes and registers it again"
    )


FORMATS: dict[str, Callable[[Project, ModelVersion, Path], None]] = {
    "openvino": _openvino,
    "onnx": _onnx,
    "safetensors": _safetensors,
}
