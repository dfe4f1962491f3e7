"""What every worker process needs, imported and compiled once: the fork server imports this, its forks share it.

A worker by itself takes a second to import Arrow and Numba and to load the compiled loops; a fork of a process that
has them takes a hundredth. This module is the only one that does something when it is imported, and it is imported by
the fork server only (`engine.py`). It starts no threads, which a fork would lose.
"""

from __future__ import annotations

import pyarrow as pa

import tulou.data.clean.shard
import tulou.data.collect.ranges  # noqa: F401
from tulou.data.kernels.fingerprint import Unit, fingerprint
from tulou.data.kernels.scripts import languages
from tulou.data.kernels.survey import survey

_TEXTS = pa.array(["Tulou 土楼 1985"], pa.string())

survey(_TEXTS)
languages(_TEXTS)
fingerprint(_TEXTS, Unit.WORDS, 4)
