"""A recorded voicemail, spoken by espeak-ng: slow, so that a small speech recogniser has a fair chance."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tulou.templates.markup import Block, Paragraph
from tulou.templates.writers.unavailable import UnavailableError

_VOICE = ("-v", "en-us", "-s", "120", "-g", "4")  # words a minute; pause between words in 10 ms
_TIMEOUT_S = 60


def write_speech(blocks: list[Block], path: Path) -> None:
    """Speak the paragraphs; headings name the recording and stay unspoken."""
    if shutil.which("espeak-ng") is None:
        raise UnavailableError("espeak-ng is not installed; install it with: apt-get install espeak-ng")
    spoken = " ".join(block.text for block in blocks if isinstance(block, Paragraph))
    subprocess.run(["espeak-ng", *_VOICE, "-w", str(path), spoken], check=True, capture_output=True, timeout=_TIMEOUT_S)
