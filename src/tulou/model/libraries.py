"""torch, transformers, NNCF and OpenVINO's tools, loaded late and kept quiet.

They are slow to import, print bars and advice of their own, and look for files on a hub; Tulou reports through its own
`Progress`, and reaches for the hub in one place only (`base.py`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from types import ModuleType

from tulou.core.extras import load_extra, load_openvino


def load_torch() -> ModuleType:
    return load_extra("torch", "train", "training and exporting models")


def load_transformers() -> ModuleType:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and forked loaders quarrel, loudly
    transformers = load_extra("transformers", "train", "training and exporting models")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def load_nncf() -> ModuleType:
    load_openvino()  # blocks the telemetry that NNCF would start too
    nncf = load_extra("nncf", "train", "compressing models to INT8")
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own way sets the level of whatever else listens there
    return nncf


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the remarks and bars of tracing, conversion and calibration: nothing in them a user could act upon."""
    import rich

    console = rich.get_console()  # the one that NNCF draws on
    was_quiet, console.quiet = console.quiet, True
    root = logging.getLogger()
    level = root.level  # which OpenVINO sets to ERROR, and leaves there where a conversion fails
    exporter = logging.getLogger("torch.onnx")  # names every library that it could export too, were it installed
    exporter_level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        console.quiet = was_quiet
        root.setLevel(level)
        exporter.setLevel(exporter_level)


def cause_of(err: Exception) -> str:
    """The one line of a tracer's or converter's page of advice that says what was wrong."""
    lines = [line.strip(" -") for line in str(err).splitlines() if line.strip()] or [type(err).__name__]
    is_tracers = "Exception:" in lines[:-1]
    return lines[lines.index("Exception:") + 1] if is_tracers else lines[-1]
