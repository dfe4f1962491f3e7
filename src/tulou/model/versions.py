"""Two registered versions side by side: what they score, weigh and take, and what was different in their making."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tulou.model.registry import ModelVersion, flat

_MEASURED = ("size_bytes", "latency_ms_p50")


def compare_versions(a: ModelVersion, b: ModelVersion) -> dict[str, Any]:
    """Figures of both with their difference (`b` minus `a`), and every setting, table of data and module that differs.

    Latencies of two versions were measured in two runs, perhaps on a busier machine: the ratio within each version's
    own table says more.
    """
    return {
        "a": _facts(a),
        "b": _facts(b),
        "metrics": [
            {"name": name, "a": a.metrics.get(name), "b": b.metrics.get(name), "difference": _difference(a, b, name)}
            for name in sorted({*a.metrics, *b.metrics}, key=lambda name: (name not in _MEASURED, name))
        ],
        "settings": _differences(a.lineage, b.lineage, "settings"),
        "data": _differences(a.lineage, b.lineage, "data"),
        "code": _differences(a.lineage, b.lineage, "code"),
    }


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
