"""Whether a classifier is right as often as it is sure: expected calibration error over bins of confidence.

Guo et al. 2017, "On Calibration of Modern Neural Networks": predictions are sorted into bins of equal width by their
confidence; the error is the gap between mean confidence and accuracy in each, weighted by how many fell into it. With
few rows a bin's accuracy is itself uncertain, so each bin carries its count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as in the paper


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of each row: (N, C) -> (N, C)."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def calibration(confidence: NDArray[np.float64], is_right: NDArray[np.bool_], bins: int = BINS) -> dict[str, Any]:
    """`confidence` and `is_right` (N,) of the likeliest labels -> the errors, and every bin that is not empty."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)  # (N,)
    filled = []
    for place in sorted(set(places.tolist())):
        inside = places == place
        filled.append(
            {
                "from": place / bins,
                "to": (place + 1) / bins,
                "rows": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(is_right[inside].mean()),
            }
        )
    gaps = [abs(each["confidence"] - each["accuracy"]) for each in filled]
    shares = [each["rows"] / len(confidence) for each in filled]
    mean_confidence, accuracy = float(confidence.mean()), float(is_right.mean())
    return {
        "expected_calibration_error": sum(gap * share for gap, share in zip(gaps, shares, strict=True)),
        "maximum_calibration_error": max(gaps),
        "mean_confidence": mean_confidence,
        "overconfidence": mean_confidence - accuracy,
        "bins": filled,
    }
