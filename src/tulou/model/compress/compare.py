"""Candidates side by side: size, latency, accuracy; which of them no other beats, and which may serve.

Latencies are medians on one thread, batch of one, the candidates taking turns so that a busy moment hits all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

LOADED = ("openvino_model.*", "*.safetensors")  # by the engines whose folders are compared
TIMED_ROUNDS = 40
TIMED_PROBES = 8  # a graph is readied for each new length at its first use, so few probes, each met before it counts


def compare(
    folders: Mapping[str, Path],
    open_timed: Callable[[Path], Callable[[Any], object]],
    probes: Sequence[Any],
    measure: Callable[[Path], Mapping[str, Any]],
    rounds: int = TIMED_ROUNDS,
) -> list[Row]:
    """One row for each candidate in `folders`, the first being the baseline of the ratios.

    `open_timed(folder)` gives the function that is timed on `probes`, one call a round; `measure(folder)` gives the
    quality figures that join the row.
    """
    taken = latencies({name: open_timed(folder) for name, folder in folders.items()}, probes[:TIMED_PROBES], rounds)
    sizes = {name: size_bytes(folder) for name, folder in folders.items()}
    first = next(iter(folders))
    return [
        {
            "precision": name,
            "size_bytes": sizes[name],
            "latency_ms_p50": round(taken[name], 3),
            "size_ratio": round(sizes[first] / sizes[name], 2),
            "speed_ratio": round(taken[first] / taken[name], 2),
            **measure(folder),
        }
        for name, folder in folders.items()
    ]


def choose(rows: Sequence[Row], max_accuracy_loss: float) -> tuple[str, str]:
    """The candidate that serves, and why: the fastest within the loss of the first, which is always allowed."""
    baseline = rows[0]
    if len(rows) == 1:
        return baseline["precision"], f"{baseline['precision']} serves: no compression was asked for"
    inside = [row for row in rows if loss(row, baseline) <= max_accuracy_loss]
    best = max(reversed(inside), key=lambda row: (row["speed_ratio"], row["size_ratio"]))
    if best is not baseline:
        return best["precision"], (
            f"{best['precision']} serves: it loses {max(loss(best, baseline), 0):.2%} of accuracy against "
            f"{baseline['precision']}, {max_accuracy_loss:.2%} are allowed; it is {best['size_ratio']:.1f} times "
            f"smaller and runs at {best['speed_ratio']:.1f} times the speed"
        )
    if len(inside) > 1:
        return baseline["precision"], (
            f"{baseline['precision']} serves: nothing within the allowed loss of {max_accuracy_loss:.2%} is faster"
        )
    nearest = min(rows[1:], key=lambda row: loss(row, baseline))
    return baseline["precision"], (
        f"{baseline['precision']} serves: {nearest['precision']} would lose {loss(nearest, baseline):.2%} of accuracy, "
        f"only {max_accuracy_loss:.2%} are allowed"
    )


def front(rows: Sequence[Row]) -> list[str]:
    """Names of the candidates that no other beats: none is as small, as fast and as accurate, and better in one."""
    return [row["precision"] for row in rows if not any(_beats(other, row) for other in rows)]


def quality(row: Mapping[str, Any]) -> float:
    """A classifier's accuracy, a language model's next-token accuracy."""
    return float(row["accuracy"] if "accuracy" in row else row["token_accuracy"])


def loss(row: Mapping[str, Any], baseline: Mapping[str, Any]) -> float:
    """Accuracy lost against the baseline: on the validation rows or on the test rows, whichever is more.

    Of many candidates the luckiest wins; asking two sets of rows keeps luck small.
    """
    lost = quality(baseline) - quality(row)
    if "validation_accuracy" in row and "validation_accuracy" in baseline:
        lost = max(lost, float(baseline["validation_accuracy"]) - float(row["validation_accuracy"]))
    return lost


def latencies(timed: Mapping[str, Callable[[Any], object]], probes: Sequence[Any], rounds: int) -> dict[str, float]:
    """Median milliseconds of each function, called in turns; each meets every probe once before it counts."""
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(len(probes) + rounds):
        probe = probes[number % len(probes)]
        for name, run in timed.items():
            started = time.perf_counter()
            run(probe)
            if number >= len(probes):
                taken[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def size_bytes(folder: Path) -> int:
    """Of graph and weights, whichever engine loads them; tokenizers weigh the same in every precision."""
    return sum(path.stat().st_size for pattern in LOADED for path in folder.glob(pattern))


def _beats(one: Row, other: Row) -> bool:
    pairs = [
        (one["size_bytes"], other["size_bytes"]),
        (one["latency_ms_p50"], other["latency_ms_p50"]),
        (-quality(one), -quality(other)),
    ]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
