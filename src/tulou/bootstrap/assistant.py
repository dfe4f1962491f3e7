"""The applications in this process, without a server: for the exam and for questions on the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, cast

import sqlalchemy as sa

from tulou.apps.content.writer import Writer, Written
from tulou.apps.events import Delta
from tulou.apps.support.assistant import Assistant
from tulou.bootstrap.project import Project
from tulou.bootstrap.retrieval import Retrieval, open_retrieval
from tulou.bootstrap.serving import served_models
from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.state import metadata
from tulou.core.telemetry import Metrics
from tulou.core.types import Language
from tulou.loop.exam import Answered, load_questions, take_exam


@dataclass(frozen=True)
class LocalApps:
    assistant: Assistant
    writer: Writer
    retrieval: Retrieval


@asynccontextmanager
async def local_apps(project: Project, state: sa.Engine | None = None) -> AsyncIterator[LocalApps]:
    """The applications over models in this process; turns are stored in `state`, by default the project's.

    Raises `ModelError` or `DataError` where the project was not run yet.
    """
    from tulou.service.local import LocalModels

    settings = project.settings
    served = served_models(project)
    models = LocalModels({name: each.folder for name, each in served.items()})
    versions = {name: each.manifest.version for name, each in served.items()}.get
    try:
        support = project.support
        encoder = served[settings.encoder].folder
        retrieval = open_retrieval(project, models, encoder)
        state = state or project.state
        yield LocalApps(
            assistant=Assistant(models, retrieval, support, state, Metrics(), lambda name: versions(name, "")),
            writer=Writer(
                models, retrieval, settings.apps.content, project.folder, state, lambda name: versions(name, "")
            ),
            retrieval=retrieval,
        )
    finally:
        models.close()


async def exam(project: Project, progress: Progress) -> dict[str, Any]:
    """Put the exam's questions to the assistant; nothing of it is stored among customers' conversations."""
    files = project.settings.exam
    questions = load_questions(project.folder / files.questions)
    off_topic_path = project.folder / files.off_topic
    off_topic = load_questions(off_topic_path) if off_topic_path.exists() else []
    forgotten = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    metadata.create_all(forgotten)
    async with local_apps(project, forgotten) as apps:

        async def ask(question: str) -> Answered:
            answer = await apps.assistant.ask(question)
            cited = tuple(source.uri for source in answer.sources if source.is_cited)
            return Answered(answer.kind, answer.found, cited, answer.text)

        score = await take_exam(questions, off_topic, ask, progress)
    forgotten.dispose()
    return score


async def answer(project: Project, question: str) -> dict[str, Any]:
    """The assistant's answer to `question`, stored as a conversation like any other."""
    async with local_apps(project) as apps:
        return asdict(await apps.assistant.ask(question))


async def compose(
    project: Project, template: str, values: Mapping[str, str], language: str | None, show: Callable[[str], None]
) -> dict[str, Any]:
    """A text written from `template`; `show` gets it piece by piece.

    Raises `DataError` for an unknown template, field or language.
    """
    if language not in (None, "zh", "en"):
        raise DataError(f"language {language!r} is neither 'zh' nor 'en'")
    written: dict[str, Any] = {}
    async with local_apps(project) as apps:
        async for event in apps.writer.write(template, values, cast("Language | None", language)):
            if isinstance(event, Delta):
                show(event.text)
            elif isinstance(event, Written):
                written = asdict(event)
    return written


async def find(
    project: Project,
    query: str,
    k: int,
    *,
    languages: Sequence[str] = (),
    sources: Sequence[str] = (),
    since: str | None = None,
    until: str | None = None,
) -> list[dict[str, Any]]:
    """The `k` best passages for `query` among those asked for, with their scores.

    Raises `DataError` for a source that the project has not, or a time that is none.
    """
    known = [source.name for source in project.settings.data.source]
    if unknown := sorted(set(sources) - set(known)):
        raise DataError(f"there is no source {unknown[0]!r}; this project has {', '.join(known)}")
    async with local_apps(project) as apps:
        hits = await apps.retrieval(query, k, languages=languages, sources=sources, since=since, until=until)
    return [{**asdict(hit.passage), "score": hit.score, "lexical": hit.lexical, "cosine": hit.cosine} for hit in hits]
