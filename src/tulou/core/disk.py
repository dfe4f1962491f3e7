"""A full disk, whoever ran into it: Python says so by number, libraries in Rust, C++ and SQLite only in words."""

from __future__ import annotations

import errno

_WORDS = ("no space left", "os error 28", "disk is full", "iostream error")  # the last is OpenVINO writing a model


def is_disk_full(err: BaseException) -> bool:
    """Whether `err`, or what led to it, comes from a full disk."""
    chain: BaseException | None = err
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(chain).lower() for words in _WORDS):
            return True
        chain = chain.__cause__ or chain.__context__
    return False
