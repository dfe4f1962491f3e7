"""What a training stage will cost, from a short trial of it: time, memory, disk, money; and whether it fits.

A trial is the stage itself, begun and stopped after some seconds: how fast its bar moved tells how long it takes, and
what it held how much it needs. What does not fit is said before it is begun, with what would.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tulou.core.compression import plans
from tulou.core.types import Task

# Bytes for each parameter: weights, gradients and Adam's two moments in FP32 (Rajbhandari et al. 2020, section 3).
TRAINING_BYTES = 16
WEIGHT_BYTES = 4
CHECKPOINT_BYTES = 8  # Adam's moments are copied while a checkpoint is written
DISK_BYTES = 24  # checkpoint (weights and moments), the best model, the one being written, the output
LORA_SHARE = 0.01  # of the parameters are trained; ranks 8 to 64 make 0.1 to 1 % (Hu et al. 2021)
PROCESS_BYTES = 600 << 20  # Python with torch and transformers, before any model
# What a trial held beyond that grows as the run goes on and the heap is cut up by rows of all lengths: three stages of
# the sample shop ended at 1.0, 1.4 and 2.1 times.
HEAP_GROWTH = 1.6
VALIDATION_SHARE = 0.05  # of the loop's time: a tenth of the rows, forward only, after each epoch
BUSY_SHARE = 0.3  # of the time a trial's threads could run, they waited for a core; beside an equal it is a half
FEW_STEPS = 8  # rows differ in length, so fewer steps than these tell the pace badly
SLACK = 0.95  # of the free memory that may be planned with


@dataclass(frozen=True)
class Trial:
    """What was seen while a stage was tried."""

    is_finished: bool  # it ended by itself, so `seconds` is all it takes
    seconds: float
    before_s: float = 0.0  # until its last bar began
    total: float | None = None  # of that bar
    rate: float | None = None  # units a second
    unit: str = ""
    peak_bytes: int = 0
    written_bytes: int = 0
    parameters: int = 0
    has_gpu: bool = False
    steps: int = 0  # of the bar that `rate` was taken from
    waiting_share: float = 0.0  # of the time in which its threads could run and had no core; 0 where nobody tells

    @property
    def caution(self) -> str | None:
        """Why what was seen tells little."""
        if self.waiting_share > BUSY_SHARE:
            return "machine was busy"
        return "few steps seen" if not self.is_finished and self.steps < FEW_STEPS else None


@dataclass(frozen=True)
class Search:
    """What a compression search makes."""

    candidates: int  # with the baseline
    shapes: int = 0  # that are trained again
    epochs: int = 0  # for which each is

    @classmethod
    def of(cls, settings: Mapping[str, Any], task: Task) -> Search:
        """Of [model.compress], as a stage's settings have it."""
        found = plans(settings["methods"], task)
        shapes = {plan.shape_name for plan in found if plan.shaping}
        return cls(len(found), len(shapes), settings["recovery_epochs"] if shapes else 0)

    def scaled(self, seconds: float, done: Search, epoch_s: float) -> float:
        """What it takes, when `done` took `seconds`; an epoch of a shape costs what one of the uncut model did."""
        trained = done.shapes * done.epochs * epoch_s
        each = max(seconds - trained, seconds / 10) / done.candidates
        pace = seconds / (each * done.candidates + trained)
        return pace * each * self.candidates + self.shapes * self.epochs * epoch_s * (pace if trained else 1)


@dataclass(frozen=True)
class Room:
    """What there is."""

    memory_bytes: int
    disk_bytes: int
    cores: int


@dataclass(frozen=True)
class Prices:
    currency: str
    cpu_core_hour: float
    gpu_hour: float


@dataclass(frozen=True)
class Prediction:
    """What a stage will take; None where nothing tells."""

    seconds: float | None
    peak_bytes: int | None
    disk_bytes: int | None
    parameters: int | None
    money: float | None
    basis: str  # "trial", "earlier run", or why there is none
    refusal: str | None = None  # why it cannot fit
    would_fit: tuple[str, ...] = ()
    caution: str | None = None  # why it is uncertain: "machine was busy", "other settings"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "would_fit": list(self.would_fit)}


def predict(trial: Trial, room: Room, prices: Prices, training: Mapping[str, Any] | None = None) -> Prediction:
    """The whole stage from its trial; `training` are the model's settings where the stage trains one."""
    seconds = _seconds(trial)
    is_training = bool(training and trial.parameters)
    peak = trial.peak_bytes
    if is_training and not trial.is_finished:
        above = max(0, peak - PROCESS_BYTES)
        peak += int(above * (HEAP_GROWTH - 1)) + trial.parameters * CHECKPOINT_BYTES
    disk = trial.parameters * DISK_BYTES if is_training else trial.written_bytes
    refusal, would = fits(peak, disk, trial.parameters if is_training else 0, room, training or {})
    return Prediction(
        seconds=seconds,
        peak_bytes=peak,
        disk_bytes=disk,
        parameters=trial.parameters or None,
        money=None if seconds is None else money(seconds, room.cores, trial.has_gpu, prices),
        basis="trial" if seconds is not None else "its work has no known end",
        refusal=refusal,
        would_fit=would,
        caution=trial.caution if seconds is not None else None,
    )


def money(seconds: float, cores: int, has_gpu: bool, prices: Prices) -> float | None:
    """None where no price is known."""
    if not prices.cpu_core_hour and not prices.gpu_hour:
        return None
    return seconds / 3600 * (cores * prices.cpu_core_hour + has_gpu * prices.gpu_hour)


def fits(
    peak_bytes: int, disk_bytes: int, parameters: int, room: Room, training: Mapping[str, Any]
) -> tuple[str | None, tuple[str, ...]]:
    """Why `peak_bytes` of memory or `disk_bytes` of disk are not there, and what would do with what is."""
    if disk_bytes > room.disk_bytes:
        return (
            f"it writes {_size(disk_bytes)} and the disk has {_size(room.disk_bytes)}",
            (f"free {_size(disk_bytes - room.disk_bytes)} of disk", _smaller_base(room.disk_bytes / DISK_BYTES)),
        )
    if peak_bytes <= room.memory_bytes:
        return None, ()
    refusal = f"it needs {_size(peak_bytes)} of memory and {_size(room.memory_bytes)} are free"
    return refusal, would_fit(peak_bytes, parameters, room.memory_bytes, training)


def would_fit(peak_bytes: int, parameters: int, memory_bytes: int, training: Mapping[str, Any]) -> tuple[str, ...]:
    """What would make do with `memory_bytes`: first what keeps the result, then what changes it."""
    held = PROCESS_BYTES + parameters * TRAINING_BYTES
    activations = max(1, peak_bytes - held)
    found = []
    batch = int(training.get("batch_size") or 0)
    if held < memory_bytes:
        if not training.get("gradient_checkpointing"):
            found.append("gradient checkpointing, which computes activations twice and keeps few (Chen et al. 2016)")
        share = (memory_bytes - held) / activations
        if batch and int(batch * share) >= 1:
            found.append(f"batch_size = {int(batch * share)} in place of {batch}")
        elif share < 1:
            found.append(f"a batch_size {1 / share:.1f} times smaller, or shorter rows by max_tokens")
    adapter = PROCESS_BYTES + parameters * (WEIGHT_BYTES + LORA_SHARE * TRAINING_BYTES)
    if parameters and adapter < memory_bytes and training.get("method") != "lora":
        found.append(f"LoRA, which holds about {_size(adapter)} besides activations")
    if held >= memory_bytes:
        found.append(_smaller_base(max(0, memory_bytes - PROCESS_BYTES) / TRAINING_BYTES))
    return tuple(found) or (f"a machine with {_size(peak_bytes / SLACK)} of memory",)


def static_need(parameters: int, training: Mapping[str, Any]) -> int:
    """Bytes that training holds whatever the batch."""
    share = WEIGHT_BYTES + LORA_SHARE * TRAINING_BYTES if training.get("method") == "lora" else TRAINING_BYTES
    return PROCESS_BYTES + int(parameters * share)


def count_parameters(folder: Path) -> int:
    """Parameters in the *.safetensors of `folder`, from their headers; nothing is loaded. 0 where there are none."""
    count = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return count


def _seconds(trial: Trial) -> float | None:
    if trial.is_finished:
        return trial.seconds
    if not trial.total or not trial.rate:
        return None
    loop = trial.total / trial.rate
    return trial.before_s + loop * (1 + VALIDATION_SHARE if trial.parameters else 1)


def _smaller_base(parameters: float) -> str:
    return f"a base of at most {parameters / 1e6:,.0f} million parameters"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
