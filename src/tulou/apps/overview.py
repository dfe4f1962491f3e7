"""What the console shows of the house: typed cards, filled in by whoever can see into the storeys.

The applications know no stage folder, registry or fleet. `Overview` is the window; its methods may block, and the
routes call them in a thread. A card holds what is measured and nothing that needs explaining to a browser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

StageState = Literal["done", "running", "failed", "waiting"]
TrainingState = Literal[
    "running", "silent", "finished", "failed"
]  # silent: runs, it says, but has told nothing for long
ReplicaState = Literal["starting", "ready", "unready", "draining", "restarting", "crash_loop", "stopped"]


@dataclass(frozen=True)
class Project:
    name: str
    languages: tuple[str, ...]
    tulou_version: str
    url: str = ""
    started_at: float | None = None  # epoch seconds; when the service started
    currency: str = ""  # of prices


@dataclass(frozen=True)
class StageRun:
    """One stage of the last run."""

    name: str  # "clean.tickets"
    title: str
    state: StageState
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    finished_at: float | None = None  # epoch seconds
    is_cached: bool = False
    # what the stage returned, scalars and small tables; of a running one pid, started_at (of the run), index and total
    summary: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Training:
    """How a model learns or has learnt in one stage."""

    model: str
    stage: str  # "pretrain.assistant"
    title: str
    state: TrainingState
    started_at: float  # epoch seconds
    told_at: float  # epoch seconds; of the last point
    points: tuple[dict[str, float], ...] = ()  # step, progress, loss, tokens_s, memory_bytes, seconds, validation_...


@dataclass(frozen=True)
class CleaningExample:
    before: str
    after: str = ""


@dataclass(frozen=True)
class CleaningRule:
    """What one rule did to the records of one source."""

    step: str  # "sensitive"
    rule: str  # "phone"
    action: Literal["dropped", "changed"]
    count: int
    examples: tuple[CleaningExample, ...] = ()


@dataclass(frozen=True)
class FailedFile:
    uri: str
    reason: str


@dataclass(frozen=True)
class SourceCleaning:
    """One source from files to clean records."""

    source: str
    files: int
    collected: int
    kept: int
    rules: tuple[CleaningRule, ...] = ()
    by_media_type: dict[str, int] = field(default_factory=dict)
    failed: tuple[FailedFile, ...] = ()

    @property
    def dropped(self) -> int:
        return self.collected - self.kept


@dataclass(frozen=True)
class Precision:
    """One way a model was compressed, measured beside the others."""

    precision: str  # "fp32", "int8"
    size_bytes: int
    latency_ms_p50: float | None  # None where there was nothing to compare it with
    metrics: dict[str, float] = field(default_factory=dict)  # "accuracy", "macro_f1", "perplexity", ...
    is_served: bool = False


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    version: int
    registered_at: float  # epoch seconds
    precision: str
    score: float | None = None  # by which versions compare: accuracy, or next-token accuracy
    is_served: bool = False
    has_served: bool = False  # before


@dataclass(frozen=True)
class ModelCard:
    name: str
    task: str
    base: str
    version: str
    precisions: tuple[Precision, ...] = ()
    verdict: str = ""  # why the served precision was chosen, one sentence
    details: dict[str, Any] = field(default_factory=dict)  # "labels", "examples", "parameters", ...
    registered_at: float | None = None
    has_page: bool = False  # whether `card_page` has one
    versions: tuple[Version, ...] = ()  # the newest first


@dataclass(frozen=True)
class Replica:
    name: str  # "assistant-0"
    model: str
    state: ReplicaState
    pid: int | None = None
    port: int | None = None
    restarts: int = 0
    rss_bytes: int = 0
    cpu_percent: float = 0.0
    in_flight: int = 0
    started_at: float | None = None
    version: str = ""  # of the model
    last_exit: str | None = None  # how it ended last time, in words


@dataclass(frozen=True)
class Scaling:
    """A change of a model's number of replicas that the service decided on."""

    model: str
    at: float  # epoch seconds
    before: int
    after: int
    why: str


@dataclass(frozen=True)
class LivePoint:
    """Requests of one short interval."""

    at: float  # epoch seconds, end of the interval
    requests: int
    failed: int
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class ModelLive:
    model: str
    requests: int
    success_rate: float | None
    p50_ms: float | None
    p99_ms: float | None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Live:
    """The service now: a window of seconds, point by point and by model. None where nothing was asked."""

    window_s: float
    requests: int = 0
    success_rate: float | None = None  # 0..1
    p50_ms: float | None = None
    p99_ms: float | None = None
    points: tuple[LivePoint, ...] = ()
    models: tuple[ModelLive, ...] = ()


class Overview(Protocol):
    """Everything the console may ask. Calls may block; what is not there yet is an empty list."""

    def project(self) -> Project: ...

    def runs(self) -> list[StageRun]: ...

    def trainings(self) -> list[Training]:
        """The newest of each stage that trains, in the order in which they began."""
        ...

    def cleaning(self) -> list[SourceCleaning]: ...

    def models(self) -> list[ModelCard]: ...

    def card_page(self, model: str) -> str | None:
        """The card of the serving version as a whole HTML page; None where there is none."""
        ...

    def explain(self, text: str, model: str) -> dict[str, Any]:
        """What `model` ("": the support application's) says of `text` and why; raises `TulouError`."""
        ...

    def replicas(self) -> list[Replica]: ...

    def scalings(self) -> list[Scaling]:
        """The latest changes of size, the newest last."""
        ...

    def live(self) -> Live: ...
