"""The peers, each in a virtual environment of its own that is made on demand and kept in the user's cache.

What they run is in `bench/peers/` of a checkout: a script and pinned requirements for each. They get the same file and
as many processes as we do, and may not install anything while the clock runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.bench.watched import Tick, run_watched
from tulou.core.errors import TulouError

SCRIPTS = Path(__file__).parents[3] / "bench" / "peers"

_OFFLINE = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class Peer:
    name: str
    script: str
    masks: Mapping[str, str]  # what it writes in place of a value; kinds it has no rule for are missing


_FORMED = (
    *("email", "ip", "phone", "id_card", "bank_card", "iban", "social_credit", "us_ssn", "passport", "license_plate"),
)

PEERS = (
    Peer(
        "data-juicer",
        "run_data_juicer.py",
        {
            "phone": "[PHONE_REDACTED]",
            "email": "[EMAIL_REDACTED]",
            "id_card": "[ID_CARD_REDACTED]",
            "ip": "[IP_REDACTED]",
            "bank_card": "[CARD_REDACTED]",
        },
    ),
    Peer("datatrove", "run_datatrove.py", {kind: f"[{kind}]" for kind in _FORMED}),
)


@dataclass(frozen=True)
class PeerRun:
    seconds: float  # of the whole process
    inside: Mapping[str, float]  # what it says of its steps
    version: str
    peak_rss_bytes: int
    peak_pss_bytes: int
    texts: dict[int, str]  # what it kept, by row


def run_peer(peer: Peer, python: Path, corpus: Path, out: Path, workers: int, tick: Tick) -> PeerRun:
    command = [str(python), str(SCRIPTS / peer.script), str(corpus), str(out), str(workers)]
    done = run_watched(command, environ=_OFFLINE, tick=tick)
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return PeerRun(
        done.seconds,
        said["seconds"],
        said["version"],
        done.peak_rss_bytes,
        done.peak_pss_bytes,
        {row: text for file in said["kept"] for row, text in _kept(Path(file))},
    )


def _kept(file: Path) -> list[tuple[int, str]]:
    with file.open(encoding="utf-8", newline="\n") as lines:
        rows = [json.loads(line) for line in lines]
    return [(int(row["id"].removeprefix("d")), row["text"]) for row in rows]


def environment(name: str, cache: Path | None = None) -> Path:
    """The Python of a peer's virtual environment, which is made if it is not there. Takes minutes the first time."""
    requirements = SCRIPTS / f"requirements-{name}.txt"
    if not requirements.exists():
        raise TulouError(f"{requirements} does not exist; peers can be measured from a checkout of Tulou only")
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:8]
    folder = (cache or _cache()) / f"{name}-{digest}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.exists():
        return python
    _call([sys.executable, "-m", "venv", "--clear", str(folder)])
    _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
    ready.touch()
    return python


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tulou" / "peers"


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TulouError(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-600:]}")
