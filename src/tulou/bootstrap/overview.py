"""The console's window into the storeys: stage manifests, the registry, the fleet and the gateway's live figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from tulou import __version__
from tulou.apps import overview as cards
from tulou.bootstrap.explain import explain_apart
from tulou.bootstrap.project import Project
from tulou.core.stage import StageResult
from tulou.service.gateway.live import Live
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.scaling import Scaling

if TYPE_CHECKING:
    from tulou.core.stage import Pipeline
    from tulou.model.curves import Trainings

POINT_S = 10.0  # width of one interval of the live picture

_ACTIONS: tuple[Literal["dropped", "changed"], ...] = ("dropped", "changed")


class ServiceOverview:
    def __init__(
        self,
        project: Project,
        switchboard: Switchboard,
        url: str,
        scalings: Callable[[], Sequence[Scaling]] = tuple,
        in_flight: Callable[[], Mapping[str, int]] | None = None,
        live: Callable[[], Live] | None = None,
    ) -> None:
        """`in_flight` and `live` are of all gateway processes together, where there are several."""
        self._project = project
        self._switchboard = switchboard
        self._url = url
        self._scalings = scalings
        self._in_flight = in_flight or switchboard.in_flight
        self._live = live or (lambda: switchboard.live)
        self._started_at = time.time()

    def project(self) -> cards.Project:
        settings = self._project.settings
        project, currency = settings.project, settings.budget.currency
        return cards.Project(project.name, project.languages, __version__, self._url, self._started_at, currency)

    def runs(self) -> list[cards.StageRun]:
        pipeline = self._pipeline()
        found = {name: _done(stage) for name, stage in pipeline.latest().items()}
        if at_work := self._project.run_at_work():
            found[at_work["stage"]] = _at_work(at_work)
        order = [stage.name for stage in pipeline.stages]
        return sorted(found.values(), key=lambda run: order.index(run.name) if run.name in order else len(order))

    def trainings(self) -> list[cards.Training]:
        registry = self._project.registry
        titles = {stage.name: stage.title for stage in self._pipeline().stages}
        found = [
            cards.Training(
                model=each.model,
                stage=each.stage,
                title=titles.get(each.stage, each.stage),
                state=each.state,
                started_at=each.started_at,
                told_at=each.told_at,
                points=each.points,
            )
            for name in self._project.settings.models
            for each in self._trainings.latest(name, registry.full_name(name))
        ]
        return sorted(found, key=lambda each: each.started_at)

    def cleaning(self) -> list[cards.SourceCleaning]:
        stages = self._stages()
        return [
            _cleaning(source.name, stages[f"collect.{source.name}"].summary, stages[f"clean.{source.name}"].summary)
            for source in self._project.settings.data.source
            if f"clean.{source.name}" in stages
        ]

    def models(self) -> list[cards.ModelCard]:
        return [self._model(name) for name in self._project.settings.models]

    def card_page(self, model: str) -> str | None:
        path = self._card(model)
        return path.read_text(encoding="utf-8") if path and path.is_file() else None

    def explain(self, text: str, model: str) -> dict[str, Any]:
        """In a process of its own: torch and the trained model would stay in this one's memory."""
        return explain_apart(self._project.folder, text, model)

    def _card(self, model: str) -> Path | None:
        if model not in self._project.settings.models:
            return None
        champion = self._project.registry.champion(model)
        return champion.folder.parent / "card.html" if champion else None

    def replicas(self) -> list[cards.Replica]:
        in_flight = self._in_flight()
        return [
            cards.Replica(
                name=each.name,
                model=each.model,
                state=cast("cards.ReplicaState", each.state),
                pid=each.pid,
                port=each.port,
                restarts=each.restarts,
                rss_bytes=each.rss_bytes,
                cpu_percent=each.cpu_percent,
                in_flight=in_flight.get(each.name, 0),
                started_at=each.started_at,
                version=each.version,
                last_exit=each.last_exit,
            )
            for each in self._switchboard.pool.status()
        ]

    def scalings(self) -> list[cards.Scaling]:
        return [cards.Scaling(each.model, each.at, each.before, each.after, each.why) for each in self._scalings()]

    def live(self) -> cards.Live:
        live = self._live()
        total = live.figures()
        return cards.Live(
            window_s=total.window_s,
            requests=total.requests,
            success_rate=total.success_rate,
            p50_ms=total.p50_ms,
            p99_ms=total.p99_ms,
            points=tuple(
                cards.LivePoint(point.at, point.requests, point.failures, point.p50_ms, point.p99_ms)
                for point in live.points(POINT_S)
            ),
            models=tuple(
                cards.ModelLive(
                    model, each.requests, each.success_rate, each.p50_ms, each.p99_ms, each.tokens_per_second
                )
                for model, each in live.by_model(self._switchboard.models).items()
            ),
        )

    def _stages(self) -> dict[str, StageResult]:
        return self._pipeline().latest()

    def _pipeline(self) -> Pipeline:
        from tulou.bootstrap.pipeline import build_pipeline

        return build_pipeline(self._project)

    @cached_property
    def _trainings(self) -> Trainings:
        from tulou.model.curves import Trainings

        return Trainings(self._project.registry.client)

    def _model(self, name: str) -> cards.ModelCard:
        settings = self._project.settings.models[name]
        registry = self._project.registry
        versions = registry.versions(name)
        champion = next((each for each in versions if each.is_champion), None)
        if champion is None:
            return cards.ModelCard(name, settings.task, settings.base, version="")
        served = registry.served(name)
        measured = tuple(_precision(row, champion.precision) for row in champion.table)
        return cards.ModelCard(
            name=name,
            task=settings.task,
            base=settings.base,
            version=str(champion.version),
            precisions=measured or (cards.Precision(champion.precision, champion.size_bytes, None, is_served=True),),
            verdict=champion.verdict,
            details=champion.lineage,
            registered_at=champion.registered_at,
            has_page=(champion.folder.parent / "card.html").is_file(),
            versions=tuple(
                cards.Version(
                    version=each.version,
                    registered_at=each.registered_at,
                    precision=each.precision,
                    score=each.score,
                    is_served=each.is_champion,
                    has_served=each.version in served,
                )
                for each in reversed(versions)
            ),
        )


def _done(stage: StageResult) -> cards.StageRun:
    return cards.StageRun(
        name=stage.name,
        title=stage.title,
        state="done",
        seconds=stage.seconds,
        peak_rss_bytes=stage.peak_rss_bytes,
        finished_at=stage.finished_at,
        summary=_scalars(stage.summary),
    )


def _at_work(told: Mapping[str, Any]) -> cards.StageRun:
    return cards.StageRun(
        name=told["stage"],
        title=told["title"],
        state="running",
        seconds=max(0.0, time.time() - told["stage_started_at"]),
        summary={key: told[key] for key in ("pid", "started_at", "index", "total")},
    )


def _cleaning(name: str, collected: Mapping[str, Any], cleaned: Mapping[str, Any]) -> cards.SourceCleaning:
    examples = cleaned.get("examples", ())
    rules = [
        cards.CleaningRule(
            step=key.partition(".")[0],
            rule=key.partition(".")[2],
            action=action,
            count=count,
            examples=tuple(
                cards.CleaningExample(example["before"] or "", example["after"] or "")
                for example in examples
                if f"{example['step']}.{example['rule']}" == key
            ),
        )
        for action in _ACTIONS
        for key, count in sorted(cleaned[action].items(), key=lambda item: -item[1])
    ]
    return cards.SourceCleaning(
        source=name,
        files=collected["files"],
        collected=cleaned["in"],
        kept=cleaned["kept"],
        rules=tuple(rules),
        by_media_type=collected["by_media_type"],
        failed=tuple(cards.FailedFile(file["uri"], file["reason"]) for file in collected["failed"]),
    )


def _precision(row: Mapping[str, Any], served: str) -> cards.Precision:
    known = ("precision", "size_bytes", "latency_ms_p50")
    metrics = {key: value for key, value in row.items() if key not in known and isinstance(value, float)}
    return cards.Precision(
        row["precision"], row["size_bytes"], row["latency_ms_p50"], metrics, row["precision"] == served
    )


def _scalars(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if isinstance(value, str | int | float | bool)}
