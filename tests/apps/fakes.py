"""Stand-ins for the rest of the house: models that say what they are told, keys, and a console full of figures."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from tests.apps.bookshop import Bookshop

from tulou.apps.content.writer import Writer
from tulou.apps.overview import (
    CleaningExample,
    CleaningRule,
    FailedFile,
    Live,
    LivePoint,
    ModelCard,
    ModelLive,
    Precision,
    Project,
    Replica,
    ReplicaState,
    Scaling,
    SourceCleaning,
    StageRun,
    Training,
    Version,
)
from tulou.apps.ports import Account
from tulou.apps.routes import Applications
from tulou.apps.sessions import Sessions
from tulou.apps.support.assistant import Assistant
from tulou.core.errors import ModelError, ServiceError
from tulou.core.settings import ContentSettings, SupportSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ChatDelta, Message

ADMIN_KEY = "sk-tulou-admin"
APP_KEY = "sk-tulou-app"
VIEWER_KEY = "sk-tulou-viewer"
Speak = Callable[[str], str]  # the user message of a prompt to what the model says


@dataclass
class FakeModels:
    """A chat model that answers by a function, character by character, and a classifier with one idea."""

    speak: Speak = lambda _prompt: "嗯"
    is_away: bool = False
    prompts: list[Sequence[Message]] = field(default_factory=list)
    closed: int = 0

    async def chat(
        self, model: str, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0
    ) -> AsyncIterator[ChatDelta]:
        self.prompts.append(messages)
        if self.is_away:
            raise ServiceError(f"no replica of {model!r} is ready; try again in a moment")
        try:
            for character in self.speak(messages[-1].content):
                yield ChatDelta(character)
            yield ChatDelta("", "stop")
        finally:
            self.closed += 1

    async def classify(self, model: str, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        if self.is_away:
            raise ServiceError(f"no replica of {model!r} is ready; try again in a moment")
        return [[("delivery_time", 0.93), ("other", 0.07)] for _ in texts]

    async def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 2), dtype=np.float32)

    async def rerank(self, model: str, query: str, texts: Sequence[str]) -> list[float]:
        return [float(query in text) for text in texts]


@dataclass
class FakeAccounts:
    accounts: dict[str, Account] = field(
        default_factory=lambda: {
            ADMIN_KEY: Account("k1", "first", "admin"),
            APP_KEY: Account("k2", "website", "app"),
            VIEWER_KEY: Account("k3", "auditor", "viewer"),
        }
    )

    def by_key(self, key: str) -> Account | None:
        return self.accounts.get(key)

    def by_id(self, key_id: str) -> Account | None:
        return next((account for account in self.accounts.values() if account.id == key_id), None)


@dataclass(frozen=True)
class FakeOverview:
    """A house in good order, at `now`; `is_new` is one in which nothing has happened yet."""

    now: float = 1_800_000_000.0
    is_new: bool = False

    def project(self) -> Project:
        return Project("qingchuan", ("zh", "en"), "0.1.0", "http://127.0.0.1:8000", self.now - 3600, "CNY")

    def card_page(self, model: str) -> str | None:
        return "<!doctype html><h1>intents</h1>" if model == "intents" else None

    def explain(self, text: str, model: str) -> dict[str, Any]:
        if model == "nobody":
            raise ModelError("there is no model 'nobody'")
        return {"text": text, "model": model or "intents", "classification": None, "neighbours": [], "passages": []}

    def runs(self) -> list[StageRun]:
        if self.is_new:
            return []
        stages = [
            ("collect.knowledge", "Collect knowledge", 11.4, 412),
            ("collect.tickets", "Collect tickets", 2.1, 240),
            ("clean.knowledge", "Clean knowledge", 0.9, 250),
            ("clean.tickets", "Clean tickets", 6.2, 318),
            ("store", "Store as Parquet", 1.1, 230),
            ("search", "Index 214 passages", 7.8, 610),
            ("train.intents", "Train the intent classifier", 154.0, 1890),
            ("pretrain.assistant", "Pretrain the assistant", 171.0, 1420),
            ("chat.assistant", "Teach the assistant to chat", 62.0, 1380),
            ("compress.intents", "Compress intents to INT8", 24.5, 1610),
            ("compress.assistant", "Compress the assistant", 9.7, 980),
            ("register", "Register both models", 2.4, 300),
        ]
        at = self.now - 7200
        return [
            StageRun(name, title, "done", spent, mb * 1_000_000, at + i, is_cached=name.startswith("collect"))
            for i, (name, title, spent, mb) in enumerate(stages)
        ]

    def trainings(self) -> list[Training]:
        if self.is_new:
            return []
        learnt = [
            {
                "step": step,
                "progress": step / 100,
                "loss": 5 * 0.97**step,
                "tokens_s": 9000.0 + step,
                "memory_bytes": 1.4e9,
            }
            | {"seconds": 1.7 * step}
            | ({"validation": 5 * 0.975**step, "validation_loss": 5 * 0.975**step} if step % 20 == 0 else {})
            for step in range(1, 101)
        ]
        judged = [
            {"step": step, "progress": step / 100, "loss": 2 * 0.96**step, "validation_accuracy": step / 41}
            for step in range(10, 41, 10)
        ]
        at = self.now - 7200
        return [
            Training("assistant", "pretrain.assistant", "Pretrain", "finished", at, at + 170, tuple(learnt)),
            Training("intents", "train.intents", "Train", "running", self.now - 60, self.now, tuple(judged)),
            Training("intents", "prefer.intents", "Prefer", "silent", self.now - 3600, self.now - 3600),
        ]

    def cleaning(self) -> list[SourceCleaning]:
        if self.is_new:
            return []
        example = CleaningExample
        tickets = (
            CleaningRule("encoding", "gbk_as_latin1", "changed", 61, (example("ÎÒµÄ°ü¹ü»¹Ã»µ½", "我的包裹还没到"),)),
            CleaningRule(
                "text", "full_width", "changed", 188, (example("订单号：２０２４０１１８", "订单号：20240118"),)
            ),
            CleaningRule(
                "text", "html_residue", "changed", 94, (example("<p>退款&nbsp;到账了吗</p>", "退款 到账了吗"),)
            ),
            CleaningRule("sensitive", "phone", "changed", 140, (example("[phone]", "请拨打 [phone] 联系我"),)),
            CleaningRule("sensitive", "id_card", "changed", 22),
            CleaningRule("exact_duplicate", "same_text", "dropped", 131, (example("Where is my parcel?"),)),
            CleaningRule("near_duplicate", "jaccard_0.8", "dropped", 77, (example("发票怎么开啊", "发票怎么开"),)),
            CleaningRule("quality", "too_short", "dropped", 33, (example("？？"),)),
            CleaningRule("quality", "spam", "dropped", 24, (example("加微信领取百万红包，点击链接"),)),
        )
        return [
            SourceCleaning(
                "knowledge",
                files=44,
                collected=198,
                kept=195,
                rules=(CleaningRule("exact_duplicate", "same_text", "dropped", 3),),
                by_media_type={
                    "text/markdown": 16,
                    "application/pdf": 6,
                    "text/html": 8,
                    "audio/wav": 1,
                    "image/png": 1,
                    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": 4,
                    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": 2,
                },
                failed=(FailedFile("data/knowledge/old-scan.pdf", "the PDF is damaged: no objects found"),),
            ),
            SourceCleaning(
                "tickets", files=2, collected=3240, kept=2975, rules=tickets, by_media_type={"text/csv": 3240}
            ),
        ]

    def models(self) -> list[ModelCard]:
        if self.is_new:
            return []
        return [
            ModelCard(
                "intents", "classify", "minilm", "3",
                (
                    Precision("fp32", 90_900_000, 7.4, {"accuracy": 0.951, "macro_f1": 0.944}),
                    Precision("int8", 23_200_000, 2.0, {"accuracy": 0.949, "macro_f1": 0.943}, is_served=True),
                ),
                "INT8 serves: it loses 0.2 points of accuracy, within the 0.5 allowed.",
                {"labels": 22, "examples": 2380}, self.now - 7000,
                versions=(
                    Version(3, self.now - 7000, "int8", 0.949, is_served=True, has_served=True),
                    Version(2, self.now - 90_000, "trim@0.25+prune@0.5+int8", 0.941, has_served=True),
                    Version(1, self.now - 180_000, "fp32", 0.92),
                ),
            ),
            ModelCard(
                "assistant", "chat", "scratch", "3",
                (
                    Precision("fp32", 21_400_000, 118.0, {"perplexity": 6.31, "token_accuracy": 0.713}),
                    Precision("int8", 6_100_000, 64.0, {"perplexity": 6.35, "token_accuracy": 0.711}, is_served=True),
                ),
                "INT8 serves: its next-token accuracy is within the 0.5 points allowed.",
                {"parameters": "5.3M", "examples": 1420}, self.now - 6900,
            ),
            ModelCard(
                "encoder", "embed", "minilm", "1",
                (
                    Precision("fp32", 90_900_000, 6.9, {"cosine": 1.0}),
                    Precision("int8", 23_000_000, 1.9, {"cosine": 0.9972}, is_served=True),
                ),
                "INT8 serves.", {"dimensions": 384}, self.now - 6950,
            ),
        ]  # fmt: skip

    def scalings(self) -> list[Scaling]:
        return [] if self.is_new else [Scaling("assistant", self.now - 60, 2, 3, "cpu above target")]

    def replicas(self) -> list[Replica]:
        if self.is_new:
            return []
        states: list[ReplicaState] = ["ready", "ready", "ready", "restarting", "ready", "ready"]
        return [
            Replica(
                name=f"{model}-{i % 2}",
                model=model,
                state=state,
                pid=4100 + i,
                port=40100 + i,
                restarts=int(state != "ready"),
                rss_bytes=(160 + 13 * i) * 1_000_000,
                cpu_percent=3.0 + 7 * i % 23,
                in_flight=i % 2,
                started_at=self.now - 3500,
            )
            for i, (model, state) in enumerate(
                zip(("assistant", "assistant", "intents", "intents", "encoder", "encoder"), states, strict=True)
            )
        ]

    def live(self) -> Live:
        if self.is_new:
            return Live(300.0, points=tuple(LivePoint(self.now - 300 + 5 * i, 0, 0) for i in range(60)))
        points = tuple(self._point(i) for i in range(60))
        models = (
            ModelLive("assistant", 412, 0.9976, 64.0, 140.2, 1310.0),
            ModelLive("intents", 430, 1.0, 2.4, 6.1),
            ModelLive("encoder", 430, 1.0, 2.2, 5.8),
        )
        return Live(300.0, 1272, 0.9992, 41.0, 138.0, points, models)

    def _point(self, i: int) -> LivePoint:
        p50 = 40 + 8 * math.sin(i / 5) + (25 if 32 < i < 37 else 0)
        return LivePoint(
            self.now - 300 + 5 * i, int(18 + 9 * math.sin(i / 8)), int(i == 34), p50, p50 * 2.2 + 14 * math.cos(i / 3)
        )


def applications(
    folder: Path, shop: Bookshop, models: FakeModels, overview: FakeOverview | None = None, **limits: object
) -> Applications:
    state, metrics = open_state("sqlite:///state.db", folder), Metrics()
    settings = SupportSettings(
        suggestions_zh=("多久能送到？", "可以退货吗？", "怎么开发票？"),
        suggestions_en=("How long does delivery take?", "Can I return a book?", "How do I get an invoice?"),
    )
    return Applications(
        assistant=Assistant(models, shop.search, settings, state, metrics, versions=lambda _model: "3"),
        writer=Writer(models, shop.search, ContentSettings(), folder, state),
        overview=overview or FakeOverview(),
        sessions=Sessions(FakeAccounts(), b"0" * 32),
        state=state,
        metrics=metrics,
        **limits,  # type: ignore[arg-type]
    )


def application(apps: Applications) -> Starlette:
    return Starlette(routes=apps.routes())
