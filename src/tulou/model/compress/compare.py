"""Precisions side by side: size, latency, accuracy; and which of them may serve.

Latencies are medians on one thread, batch of one, the candidates taking turns so that a busy moment hits all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tulou.model.compress.encoder import Precision

Row = dict[str, Any]

TIMED_ROUNDS = 40
TIMED_PROBES = 8  # a graph is readied for each new length at its first use, so few probes, each met before it counts


def compare(
    folders: Mapping[Precision, Path],
    open_timed: Callable[[Path], Callable[[Any], object]],
    probes: Sequence[Any],
    measure: Callable[[Path], Mapping[str, Any]],
    rounds: int = TIMED_ROUNDS,
) -> list[Row]:
    """One row for each precision in `folders`, the first being the baseline of the ratios.

    `open_timed(folder)` gives the function that is timed on `probes`, one call a round; `measure(folder)` gives the
    quality figures that join the row.
    """
    latencies = _latencies({name: open_timed(folder) for name, folder in folders.items()}, probes, rounds)
    sizes = {name: _size_bytes(folder) for name, folder in folders.items()}
    first = next(iter(folders))
    return [
        {
            "precision": name,
            "size_bytes": sizes[name],
            "latency_ms_p50": round(latencies[name], 3),
            "size_ratio": round(sizes[first] / sizes[name], 2),
            "speed_ratio": round(latencies[first] / latencies[name], 2),
            **measure(folder),
        }
        for name, folder in folders.items()
    ]


def choose(rows: Sequence[Row], max_accuracy_loss: float) -> tuple[str, str]:
    """The precision that serves, and why: the last row within the loss of the first, which is always allowed."""
    baseline = rows[0]
    for row in reversed(rows[1:]):
        loss = quality(baseline) - quality(row)
        if loss <= max_accuracy_loss:
            return row["precision"], (
                f"{row['precision']} serves: it loses {max(loss, 0):.2%} of accuracy against {baseline['precision']}, "
                f"{max_accuracy_loss:.2%} are allowed; it is {row['size_ratio']:.1f} times smaller and runs at "
                f"{row['speed_ratio']:.1f} times the speed"
            )
    if len(rows) == 1:
        return baseline["precision"], f"{baseline['precision']} serves: no compression was asked for"
    worst = quality(baseline) - quality(rows[-1])
    return baseline["precision"], (
        f"{baseline['precision']} serves: {rows[-1]['precision']} would lose {worst:.2%} of accuracy, "
        f"only {max_accuracy_loss:.2%} are allowed"
    )


def quality(row: Mapping[str, Any]) -> float:
    """A classifier's accuracy, a language model's next-token accuracy."""
    return float(row["accuracy"] if "accuracy" in row else row["token_accuracy"])


def _latencies(
    timed: Mapping[Precision, Callable[[Any], object]], probes: Sequence[Any], rounds: int
) -> dict[Precision, float]:
    taken: dict[Precision, list[float]] = {name: [] for name in timed}
    probes = probes[:TIMED_PROBES]
    for number in range(len(probes) + rounds):
        probe = probes[number % len(probes)]
        for name, run in timed.items():
            started = time.perf_counter()
            run(probe)
            if number >= len(probes):
                taken[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def _size_bytes(folder: Path) -> int:
    """Of graph and weights; tokenizers weigh the same in every precision."""
    return sum((folder / file).stat().st_size for file in ("openvino_model.xml", "openvino_model.bin"))
