"""Engines: everything that turns a model folder into answers, behind two small protocols.

`open_engine` reads `model.json` and opens the engine it names. An opener imports its libraries itself, so that the
choice costs nothing until it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.types import ModelManifest
from tulou.service.engine.base import (
    ChatEngine,
    EncoderEngine,
    Engine,
    Generation,
    PromptTooLong,
    Unsupported,
)

__all__ = [
    "ENGINES",
    "ChatEngine",
    "EncoderEngine",
    "Engine",
    "Generation",
    "PromptTooLong",
    "Unsupported",
    "open_chat",
    "open_encoder",
    "open_engine",
]

Opener = Callable[[Path, ModelManifest, int], Engine]


def _lazily(module: str, opener: str) -> Opener:
    def open_it(folder: Path, manifest: ModelManifest, threads: int) -> Engine:
        engine: Engine = getattr(import_module(f"tulou.service.engine.{module}"), opener)(folder, manifest, threads)
        return engine

    return open_it


ENGINES: dict[str, Opener] = {
    "openvino": _lazily("openvino", "open_openvino"),
    "onnx": _lazily("onnx", "open_onnx"),
    "torch": _lazily("torch", "open_torch"),
    "remote": _lazily("remote", "open_remote"),
    "echo": _lazily("echo", "open_echo"),
}


def open_engine(folder: Path, threads: int = 1) -> Engine:
    """Open the model in `folder` with the engine its `model.json` names, computing on `threads` threads.

    Raises `ModelError` where the folder holds no model that this engine can load.
    """
    manifest = read_manifest(folder)
    opener = ENGINES.get(manifest.engine)
    if opener is None:
        raise ModelError(f"{folder}: unknown engine {manifest.engine!r}; choose from {', '.join(sorted(ENGINES))}")
    return opener(folder, manifest, threads)


def open_encoder(folder: Path, threads: int = 1) -> EncoderEngine:
    engine = open_engine(folder, threads)
    if not isinstance(engine, EncoderEngine):
        raise ModelError(f"{folder} holds a {engine.manifest.task} model, not an encoder")
    return engine


def open_chat(folder: Path, threads: int = 1) -> ChatEngine:
    engine = open_engine(folder, threads)
    if not isinstance(engine, ChatEngine):
        raise ModelError(f"{folder} holds a {engine.manifest.task} model, not a chat model")
    return engine
