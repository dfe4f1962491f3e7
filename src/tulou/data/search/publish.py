"""Where the embedded index lives for its readers: one folder per fingerprint and a pointer to the one in use.

A new index is moved in whole and the pointer replaced, so a reader opens either the old or the new one. The previous
index stays for readers that still have it open; older ones are removed. Nothing else in the folder is touched.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tulou.core.errors import DataError
from tulou.core.stage import read_json, write_json

_POINTER = "current.json"
_OURS = re.compile(r"[0-9a-f]{16}(\.partial)?")  # a stage's fingerprint


def publish_index(built: Path, home: Path, fingerprint: str) -> None:
    """Make the index in the folder `built` the current one of `home`."""
    home.mkdir(parents=True, exist_ok=True)
    target, arriving = home / fingerprint, home / f"{fingerprint}.partial"
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.copytree(built, arriving)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(arriving, target)
    previous = (read_json(home / _POINTER) or {}).get("index")
    write_json(home / _POINTER, {"index": fingerprint})
    for other in home.iterdir():
        if other.is_dir() and _OURS.fullmatch(other.name) and other.name not in (fingerprint, previous):
            shutil.rmtree(other, ignore_errors=True)


def current_index(home: Path) -> Path:
    """Folder of the current index. Raises `DataError` where none was published."""
    pointer = read_json(home / _POINTER)
    if pointer is None or not (home / pointer["index"]).is_dir():
        raise DataError(f"there is no search index in {home}; `tulou run` makes one (`tulou run --redo index` again)")
    folder: Path = home / pointer["index"]
    return folder
