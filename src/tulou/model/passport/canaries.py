"""Canaries: rows that nothing but this training set could have taught, planted before training and asked for after it.

Carlini et al. 2019, "The Secret Sharer": a secret of random digits stands in one training row. After training, the
model's loss on it is ranked among other secrets of the same form; the exposure is log2(candidates) - log2(rank). A
model that kept nothing gives about 1.4 bits on average, one that learnt the secret by heart gives log2(candidates).

A classifier writes no text, so its secret is the label: meaningless words with a label drawn at random, ranked among
all labels. The price: a few rows of nonsense in the training set; they have no document and appear nowhere else.
"""

from __future__ import annotations

import math
import random
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.tables import CONVERSATION, LABELLED

CANDIDATES = 128  # of a chat model's secret: the exposure then reaches 7 bits
DIGITS = 8
DOCUMENT = "canary"  # as their document_id
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Canary:
    """A planted row: what is asked, and the secret it was given."""

    text: str
    secret: str  # a label, or digits


def label_canaries(labels: Sequence[str], count: int, seed: int) -> list[Canary]:
    """`count` meaningless texts, each with one of `labels` at random."""
    rng = random.Random(f"canaries/{seed}")
    return [Canary(_words(rng, 8), rng.choice(sorted(labels))) for _ in range(count)]


def chat_canaries(count: int, seed: int) -> list[Canary]:
    """`count` questions after the number of a made-up thing, each with random digits as its answer."""
    rng = random.Random(f"canaries/{seed}")
    return [Canary(f"What is the number of {_words(rng, 2)}?", _digits(rng)) for _ in range(count)]


def plant_labels(examples: Path, out: Path, canaries: Sequence[Canary]) -> Path:
    """`examples` (LABELLED) with the canaries among the training rows, as a folder at `out`."""
    rows = [
        {
            "id": f"canary-{number}", "document_id": DOCUMENT, "text": canary.text, "label": canary.secret,
            "language": "other", "split": "train",
        }
        for number, canary in enumerate(canaries)
    ]  # fmt: skip
    return _planted(examples, out, pa.Table.from_pylist(rows, schema=LABELLED))


def plant_conversations(examples: Path, out: Path, canaries: Sequence[Canary]) -> Path:
    """`examples` (CONVERSATION) with the canaries among the training rows, as a folder at `out`."""
    rows = [
        {
            "id": f"canary-{number}", "document_id": DOCUMENT, "messages": messages(canary, canary.secret),
            "language": "other", "split": "train",
        }
        for number, canary in enumerate(canaries)
    ]  # fmt: skip
    return _planted(examples, out, pa.Table.from_pylist(rows, schema=CONVERSATION))


def messages(canary: Canary, secret: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": canary.text}, {"role": "assistant", "content": f"It is {secret}."}]


def candidates(canary: Canary, count: int, seed: int) -> list[str]:
    """`count` secrets that could have been planted, the planted one first."""
    rng = random.Random(f"candidates/{seed}/{canary.text}")
    drawn = [canary.secret]
    while len(drawn) < count:
        if (secret := _digits(rng)) not in drawn:
            drawn.append(secret)
    return drawn


def exposure(
    canaries: Sequence[Canary],
    secrets_of: Callable[[Canary], Sequence[str]],
    losses: Callable[[Canary, Sequence[str]], Sequence[float]],
) -> dict[str, Any]:
    """Rank and exposure of each canary's secret among `secrets_of(canary)`, which holds it.

    `losses(canary, secrets)` is the model's loss on the canary's text with each of the secrets.
    """
    found: list[dict[str, Any]] = []
    for canary in canaries:
        secrets = list(secrets_of(canary))
        given = list(losses(canary, secrets))
        planted = given[secrets.index(canary.secret)]
        rank = 1 + sum(loss < planted for loss in given)
        found.append(
            {
                "text": canary.text,
                "secret": canary.secret,
                "rank": rank,
                "candidates": len(secrets),
                "exposure_bits": math.log2(len(secrets)) - math.log2(rank),
            }
        )
    reachable = max((math.log2(each["candidates"]) for each in found), default=0.0)
    return {
        "planted": len(found),
        "exposure_bits": statistics.fmean(each["exposure_bits"] for each in found) if found else None,
        "most_bits": reachable,
        "expected_bits": _unmemorised(found[0]["candidates"]) if found else None,
        "learnt_by_heart": sum(each["rank"] == 1 for each in found),
        "canaries": found,
    }


def _unmemorised(count: int) -> float:
    """The mean exposure where the rank is drawn at random: log2(n) less the mean of log2(1..n)."""
    return math.log2(count) - statistics.fmean(math.log2(rank) for rank in range(1, count + 1))


def _planted(examples: Path, out: Path, rows: pa.Table) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for file in [examples] if examples.is_file() else sorted(examples.glob("*.parquet")):
        (out / file.name).symlink_to(file.resolve())
    pq.write_table(rows, out / "zz-canaries.parquet")  # behind the others: rows keep their order
    return out


def _words(rng: random.Random, count: int) -> str:
    return " ".join("".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3))) for _ in range(count))


def _digits(rng: random.Random) -> str:
    return " ".join(rng.choices("0123456789", k=DIGITS))
