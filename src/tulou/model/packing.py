"""Several conversations in one row, none of which sees another: next to no padding.

Positions begin anew at each conversation, from which transformers makes an attention mask of blocks. So a step of
packed conversations has the very loss of the same step unpacked; an architecture where that does not hold is found
out before training. The price is attention computed over whole rows: it pays where lengths differ much, and little
beside length buckets. It imports torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tulou.model.batches import Batch
from tulou.model.causal import IGNORED, Turn
from tulou.model.training import autocast, pad, pick_device

LEAK_TOLERANCE = 0.02  # relative, of the loss; bf16 rounds by less, a leak changes it by far more


def pack(turns: Sequence[Turn]) -> list[list[Turn]]:
    """Turns in rows of at most twice the longest, so that any two fit: first fit, longest first."""
    capacity = 2 * max(len(turn.ids) for turn in turns)
    rows: list[list[Turn]] = []
    room: list[int] = []
    for turn in sorted(turns, key=lambda turn: -len(turn.ids)):
        place = next((place for place, left in enumerate(room) if left >= len(turn.ids)), None)
        if place is None:
            rows.append([])
            room.append(capacity)
            place = len(rows) - 1
        rows[place].append(turn)
        room[place] -= len(turn.ids)
    return rows


def packed_batch(turns: Sequence[Turn]) -> Batch:
    """Fewer rows than turns, with positions that begin anew at each turn."""
    rows = pack(turns)
    device = pick_device()
    longest = max(sum(len(turn.ids) for turn in row) for row in rows)
    places = [[place for turn in row for place in range(len(turn.ids))] for row in rows]
    # What fills a row up counts from 0 as well: a block of its own, without targets.
    places = [[*row, *range(longest - len(row))] for row in places]
    tensors = {
        "input_ids": pad([[i for turn in row for i in turn.ids] for row in rows], 0).to(device),  # (B, T)
        "targets": pad([[t for turn in row for t in _targets(turn)] for row in rows], IGNORED).to(device),  # (B, T)
        "position_ids": torch.tensor(places, device=device),  # (B, T)
    }
    names = tuple("+".join(turn.name for turn in row) for row in rows)
    return Batch(tensors, names, _answered(turns), sum(len(turn.ids) for turn in turns))


def padded_batch(turns: Sequence[Turn]) -> Batch:
    """One row for each turn; pads come last and are never seen, attention being causal."""
    device = pick_device()
    tensors = {
        "input_ids": pad([turn.ids for turn in turns], 0).to(device),  # (B, T)
        "targets": pad([_targets(turn) for turn in turns], IGNORED).to(device),  # (B, T)
    }
    return Batch(tensors, tuple(turn.name for turn in turns), _answered(turns), sum(len(turn.ids) for turn in turns))


def keeps_apart(learner: Any, turns: Sequence[Turn]) -> bool:
    """Whether `learner` gives packed turns the loss that it gives them one by one."""
    learner.eval()
    with torch.no_grad(), autocast(pick_device()):
        packed = float(learner(**packed_batch(turns).tensors))
        padded = float(learner(**padded_batch(turns).tensors))
    return abs(packed - padded) <= LEAK_TOLERANCE * abs(padded)


def _targets(turn: Turn) -> list[int]:
    """The first token follows nothing: what stands before it in a row is another conversation."""
    return [IGNORED, *turn.targets[1:]]


def _answered(turns: Sequence[Turn]) -> int:
    return sum(target != IGNORED for turn in turns for target in turn.targets[1:])
