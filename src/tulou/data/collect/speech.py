"""Speech to text by faster-whisper, from a model folder on this machine; nothing is ever downloaded.

The folder holds a Whisper model converted by CTranslate2. Silence is left out by the detector in faster-whisper's own
package where ONNX Runtime is there, and the language is told from the first half minute. Sentences are joined to
stretches of about half a minute, cut where a sentence ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.extras import load_extra
from tulou.core.settings import SourceSettings
from tulou.data.collect.piece import Piece

_NEEDED = ("model.bin", "config.json", "tokenizer.json")  # without the last, faster-whisper would go and download one
_STRETCH_SECONDS = 30.0
_THREADS = 2


def check_speech(source: SourceSettings, project: Path) -> Path | None:
    """The model folder of the source, None where it names none.

    Raises `DataError` for a folder that is no such model, and `MissingExtraError`, before any work starts.
    """
    if source.speech_model is None:
        return None
    folder = (project / Path(source.speech_model).expanduser()).resolve()
    if not folder.is_dir():
        raise DataError(f"source {source.name!r}: speech_model {source.speech_model!r} is no folder; {_HOW}")
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if missing:
        raise DataError(f"source {source.name!r}: speech_model {folder} has no {missing[0]}; {_HOW}")
    if find_spec("faster_whisper") is None:
        load_extra("faster_whisper", "speech", "recognising speech with a Whisper model")
    return folder


_HOW = "name the folder of a Whisper model converted with ct2-transformers-converter (model.bin, tokenizer.json)"


def recognise_speech(samples: NDArray[np.int16], folder: Path, title: str) -> list[Piece]:
    """Samples are mono at 16 kHz. Raises `DataError` where the model cannot be loaded or hears no words."""
    segments, _ = _model(str(folder)).transcribe(
        samples.astype(np.float32) / 32768,
        vad_filter=find_spec("onnxruntime") is not None,
        condition_on_previous_text=False,  # otherwise one slip repeats itself to the end of the recording
        beam_size=5,
    )
    pieces = [
        Piece(f"seconds={start:.0f}-{end:.0f}", title, text)
        for start, end, text in stretches((segment.start, segment.end, segment.text) for segment in segments)
    ]
    if not pieces:
        raise DataError("no speech was recognised in this recording")
    return pieces


def stretches(segments: Iterable[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Segments of speech (from, to, text) joined as long as they fit into one stretch."""
    joined: list[tuple[float, float, str]] = []
    for start, end, said in segments:
        text = said.strip()
        if not text:
            continue
        if joined and end - joined[-1][0] <= _STRETCH_SECONDS:
            first, _, before = joined[-1]
            is_chinese = ord(before[-1]) >= 0x2E80 and ord(text[0]) >= 0x2E80
            joined[-1] = (first, end, before + ("" if is_chinese else " ") + text)
        else:
            joined.append((start, end, text))
    return joined


@cache
def _model(folder: str) -> Any:
    """Loads the model once in a process."""
    whisper = load_extra("faster_whisper", "speech", "recognising speech with a Whisper model")
    try:
        return whisper.WhisperModel(
            folder, device="cpu", compute_type="int8", cpu_threads=_THREADS, local_files_only=True
        )
    except (RuntimeError, ValueError, OSError) as err:
        raise DataError(f"the speech model {folder} cannot be loaded: {' '.join(str(err).split())[:300]}") from err
