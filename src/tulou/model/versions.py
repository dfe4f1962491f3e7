"""Two registered versions side by side: what they score, weigh and take, and what was different in their making."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tulou.model.registry import ModelVersion, flat

ALIKE = 1.1  # latencies of two runs differ by that much by themselves
ROWS = ("split.", "examples.")  # stages that choose them
_MEASURED = ("size_bytes", "latency_ms_p50")


def compare_versions(a: ModelVersion, b: ModelVersion) -> dict[str, Any]:
    """Figures of both with their difference (`b` minus `a`), and every setting, table of data and module that differs.

    Latencies of two versions were measured in two runs, perhaps on a busier machine: the ratio within each version's
    own table says more.
    """
    return {
        "a": _facts(a),
        "b": _facts(b),
        "verdict": _verdict(a, b),
        "metrics": [
            {"name": name, "a": a.metrics.get(name), "b": b.metrics.get(name), "difference": _difference(a, b, name)}
            for name in sorted({*a.metrics, *b.metrics}, key=lambda name: (name not in _MEASURED, name))
        ],
        "settings": _differences(a.lineage, b.lineage, "settings"),
        "data": _differences(a.lineage, b.lineage, "data"),
        "code": _differences(a.lineage, b.lineage, "code"),
    }


def _verdict(a: ModelVersion, b: ModelVersion) -> str:
    """One sentence: is `b` better, smaller, faster than `a`?"""
    words = [_right(a.metrics, b.metrics)]
    for name, less, more in (("size_bytes", "smaller", "larger"), ("latency_ms_p50", "faster", "slower")):
        ours, theirs = a.metrics.get(name), b.metrics.get(name)
        if ours and theirs:
            times = max(ours, theirs) / min(ours, theirs)
            words.append(f"{times:.1f} times {less if theirs < ours else more}" if times >= ALIKE else f"no {less}")
    said = ", ".join(word for word in words if word)
    if not said:
        return f"of {a.name} {a.version} and {b.name} {b.version} nothing was measured that both have"
    rows = [each["key"] for each in _differences(a.lineage, b.lineage, "data")]
    judged = "; the rows that they were judged on are not the same" if any(key.startswith(ROWS) for key in rows) else ""
    return f"{b.name} {b.version}, beside {a.name} {a.version}: {said}{judged}"


def _right(a: Mapping[str, float], b: Mapping[str, float]) -> str:
    """Which is right more often, and whether chance explains it (95 %, as if each had been asked other rows)."""
    for name, count in (("accuracy", "rows"), ("token_accuracy", "tokens")):
        if name not in a or name not in b:
            continue
        difference = b[name] - a[name]
        if abs(difference) < 5e-5:
            return f"as accurate ({b[name]:.1%})"
        mean, asked = (a[name] + b[name]) / 2, min(a.get(count, 0), b.get(count, 0))
        is_chance = asked and abs(difference) < 1.96 * math.sqrt(2 * mean * (1 - mean) / asked)
        words = f"{abs(difference):.2%} {'more' if difference > 0 else 'less'} accurate"
        return words + (", which chance may explain" if is_chance else "")
    return ""


def _facts(version: ModelVersion) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "precision": version.precision,
        "fingerprint": version.fingerprint,
        "registered_at": version.registered_at,
        "is_champion": version.is_champion,
        "is_challenger": version.is_challenger,
        "verdict": version.verdict,
    }


def _difference(a: ModelVersion, b: ModelVersion, name: str) -> float | None:
    if name not in a.metrics or name not in b.metrics:
        return None
    return b.metrics[name] - a.metrics[name]


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    ours, theirs = flat(a.get(part) or {}), flat(b.get(part) or {})
    return [
        {"key": key, "a": ours.get(key), "b": theirs.get(key)}
        for key in dict.fromkeys((*ours, *theirs))
        if ours.get(key) != theirs.get(key)
    ]
