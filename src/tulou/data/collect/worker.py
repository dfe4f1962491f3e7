"""The process that parses: `python -m tulou.data.collect.worker [SPEECH_MODEL]`, JSON requests in, JSON answers out.

Parsers of binary formats run foreign code on files from anywhere. Here they can crash, hang or grow without taking the
pipeline along: the parent kills this process and goes on. It ends when its input closes.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from tulou.core.errors import TulouError
from tulou.data.collect.audio import read_audio
from tulou.data.collect.documents import read_document, read_workbook
from tulou.data.collect.image import read_image
from tulou.data.collect.pdf import read_pdf

WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_MAX_MEMORY_BYTES = 3 << 30  # of private memory; a page of OCR takes 0.5 GiB


def parse(path: Path, media_type: str, speech_model: Path | None = None) -> dict[str, Any]:
    if media_type == WORKBOOK:
        return {"sheets": read_workbook(path, media_type)}
    if media_type.startswith("image/"):
        pieces = read_image(path)
    elif media_type.startswith(("audio/", "video/")):
        pieces = read_audio(path, speech_model)
    elif media_type == "application/pdf":
        pieces = read_pdf(path)
    else:
        pieces = read_document(path, media_type)
    return {"pieces": [piece._asdict() for piece in pieces]}


def main() -> None:
    speech_model = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    max_bytes = _MAX_MEMORY_BYTES + _model_bytes(speech_model)
    resource.setrlimit(resource.RLIMIT_DATA, (max_bytes, max_bytes))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = parse(Path(request["path"]), request["media_type"], speech_model)
        except TulouError as err:
            answer = {"error": str(err)}
        except MemoryError:
            answer = {"error": f"needs more than {max_bytes:,} bytes of memory to parse"}
        except Exception as err:  # noqa: BLE001  # whatever a parser raises is this file's failure, told to the parent
            answer = {"error": f"cannot be parsed: {_one_line(err)}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _model_bytes(speech_model: Path | None) -> int:
    """Room for a speech model: as stored, and once more while its weights are converted."""
    return 0 if speech_model is None else 2 * (speech_model / "model.bin").stat().st_size


def _one_line(err: Exception) -> str:
    text = " ".join(str(err).split())
    return text[:300] or type(err).__name__


if __name__ == "__main__":
    main()
