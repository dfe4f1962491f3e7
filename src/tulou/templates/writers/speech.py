"""A recorded voicemail, spoken by espeak-ng: slow, so that a small speech recogniser has a fair chance."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tulou.templates.markup import Block, Paragraph
from tulou.templates.writers.unavailable import UnavailableError

# Of 24 voices and speeds pocketsphinx hears this one best: 21 % word error on free sentences, 74 % with plain en-us.
_VOICE = ("-v", "en-us+f3", "-s", "130", "-p", "40")  # variant; words a minute; pitch, 0 to 99
_TIMEOUT_S = 60


def write_speech(blocks: list[Block], path: Path) -> None:
    """Speak the paragraphs; headings name the recording and stay unspoken."""
    if shutil.which("espeak-ng") is None:
        raise UnavailableError("espeak-ng is not installed; install it with: apt-get install espeak-ng")
    spoken = " ".join(block.text for block in blocks if isinstance(block, Paragraph))
    subprocess.run(["espeak-ng", *_VOICE, "-w", str(path), spoken], check=True, capture_output=True, timeout=_TIMEOUT_S)
