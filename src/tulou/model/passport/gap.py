"""What a model does better on the rows it was trained on than on others like them.

Two looks at it: the curve that training wrote, and the finished model's losses on rows of both kinds, measured alike.
From the second comes the membership attack of Yeom et al. 2018 too: the chance that a training row has a lower loss
than one that was held out. One half says that nobody can tell; near one, the model gives away what it was shown.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tulou.model.passport.losses import RowLosses

CURVES = ("loss", "validation_loss", "validation_accuracy")


def curve(learnt: Mapping[str, Any]) -> dict[str, Any]:
    """The points of a training stage's summary, and the step whose weights were kept; empty where it tells none."""
    points = [
        {"step": past["step"], **{key: past[key] for key in CURVES if past.get(key) is not None}}
        for past in learnt.get("history", ())
    ]
    held_out = [point["validation_loss"] for point in points if "validation_loss" in point]
    rise = held_out[-1] / min(held_out) - 1 if held_out and min(held_out) > 0 else None
    return {
        "points": points,
        "best_step": _best_step(points) if learnt.get("best_step") is None else learnt["best_step"],
        "rise_after_best": rise,  # of the validation loss, from its lowest to the last step's
    }


def smoothed_floor(labels: int, smoothing: float) -> float:
    """The lowest cross entropy (nats) that label smoothing allows: the entropy of the target it asks for.

    Szegedy et al. 2016: the right one of `labels` gets 1 - smoothing, and all of them an equal part of the rest.
    """
    rest = smoothing / labels
    right = 1 - smoothing + rest
    return -right * math.log(right) - (labels - 1) * rest * math.log(rest)


def gap(train: RowLosses, held_out: RowLosses) -> dict[str, Any]:
    """Losses and accuracies on both kinds of rows, and how far the training rows give themselves away."""
    return {
        "train_rows": len(train.losses),
        "held_out_rows": len(held_out.losses),
        "train_loss": statistics.fmean(train.losses),
        "held_out_loss": statistics.fmean(held_out.losses),
        "loss_gap": statistics.fmean(held_out.losses) - statistics.fmean(train.losses),
        "train_accuracy": statistics.fmean(train.right),
        "held_out_accuracy": statistics.fmean(held_out.right),
        "accuracy_gap": statistics.fmean(train.right) - statistics.fmean(held_out.right),
        "membership_auc": lower_first(train.losses, held_out.losses),
    }


def lower_first(members: Sequence[float], others: Sequence[float]) -> float:
    """The chance that one of `members` is below one of `others`, ties counting half (Mann & Whitney 1947)."""
    both = sorted([(loss, 1) for loss in members] + [(loss, 0) for loss in others])
    total, start, others_before = 0.0, 0, 0
    while start < len(both):
        end = start
        while end < len(both) and both[end][0] == both[start][0]:
            end += 1
        inside = sum(kind for _, kind in both[start:end])
        equal = end - start - inside
        total += inside * (len(others) - others_before - equal) + inside * equal / 2
        others_before += equal
        start = end
    return total / (len(members) * len(others))


def _best_step(points: Sequence[Mapping[str, Any]]) -> int | None:
    if not points:
        return None
    if "validation_loss" in points[-1]:
        return int(min(points, key=lambda point: point.get("validation_loss", float("inf")))["step"])
    return int(max(points, key=lambda point: point.get("validation_accuracy", 0.0))["step"])
