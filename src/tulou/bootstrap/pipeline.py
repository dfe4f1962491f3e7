"""The main job as a visible list of stages, from raw sources to registered models that passed their exam."""

from __future__ import annotations

import asyncio
import hashlib

from tulou.bootstrap.data_stages import affinity, clean, collect, index, passages, report, store
from tulou.bootstrap.inputs import exam_digest
from tulou.bootstrap.judge_stages import judge
from tulou.bootstrap.model_stages import TRAINING, encoder, recipe, register, trained_by
from tulou.bootstrap.project import Project
from tulou.core.errors import SettingsError
from tulou.core.stage import Pipeline, Stage, StageContext, Summary


def build_pipeline(project: Project) -> Pipeline:
    settings = project.settings
    sources = settings.data.source
    models = settings.models
    stages = [
        *(collect(project, source) for source in sources),
        *(clean(project, source) for source in sources),
        store(project),
        report(project),
        passages(project),
        *(stage for name, model in models.items() if model.task == "embed" for stage in encoder(project, name, model)),
        index(project),
        *(stage for name, model in models.items() for stage in recipe(project, name, model)),
        *affinity(project),
        *(stage for name, model in models.items() for stage in judge(project, name, model)),
        *(register(project, name) for name in models),
        *exam_stages(project),
    ]
    return Pipeline(stages, project.stages)


def require_inputs(project: Project) -> None:
    """Raises `SettingsError` for what would fail, or be silently left out, after minutes of work."""
    if not project.settings.data.source:
        raise SettingsError("tulou.toml names no [[data.source]]; add one with a name and a url")
    exam = project.settings.exam
    if "questions" in exam.model_fields_set and not (project.folder / exam.questions).exists():
        raise SettingsError(f"exam.questions names {exam.questions!r}, which does not exist in {project.folder}")


def require_bases(project: Project, pipeline: Pipeline, until: str | None = None) -> None:
    """Raises `ModelError` for a base that would be missed when training begins, after minutes of other work."""
    from tulou.model.base import check_base

    models = project.settings.models
    if all(model.base in ("minilm", "scratch") for model in models.values()):
        return
    for each in pipeline.todo(until):
        step, _, name = each.stage.name.partition(".")
        is_base_read = step in TRAINING or (step == "compress" and not trained_by(name, models[name]))
        if each.result is None and is_base_read:
            check_base(models[name].base, project.folder)


def exam_stages(project: Project) -> list[Stage]:
    if not (project.folder / project.settings.exam.questions).exists():
        return []

    def run(context: StageContext) -> Summary:
        from tulou.bootstrap.assistant import exam

        return asyncio.run(exam(project, context.progress))

    learned = [stage.name for stage in affinity(project)]
    return [
        Stage(
            name="exam",
            title="Take the exam",
            run=run,
            inputs=("index", *learned, *(f"register.{name}" for name in project.settings.models)),
            settings={**project.settings.apps.support.model_dump(), "reranker": project.settings.data.reranker},
            raw=lambda: exam_digest(project) + _serving_digest(project),
            code=(
                "tulou.apps",
                "tulou.bootstrap.retrieval",
                "tulou.loop.exam",
                "tulou.core.prompt",
                "tulou.core.sentences",
            ),
        )
    ]


def _serving_digest(project: Project) -> str:
    """Digest of which versions serve; read after they were registered, and they may have been rolled back since."""
    champions = [project.registry.champion(name) for name in project.settings.models]
    return hashlib.sha256(repr([each and each.fingerprint for each in champions]).encode()).hexdigest()[:16]
