"""The main job as a visible list of stages, from raw sources to registered models that passed their exam.

Each function below makes one stage: what it reads, what it depends on, and which code it is a function of. A stage
imports its heavy libraries when it runs, so building the list costs milliseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.bootstrap.project import Project
from tulou.core.errors import SettingsError
from tulou.core.settings import ModelSettings, SourceSettings
from tulou.core.stage import Pipeline, Stage, StageContext, Summary
from tulou.core.urls import url_digest, without_secrets
from tulou.loop.exam import load_questions
from tulou.loop.feedback import latest_snapshot, snapshot_digest

if TYPE_CHECKING:
    import pyarrow as pa

_OPTIONAL_READERS = (
    "rapidocr",
    "pocketsphinx",
    "faster_whisper",
    "av",
)  # what pictures and sound are read with, where installed


def build_pipeline(project: Project) -> Pipeline:
    settings = project.settings
    sources = settings.data.source
    models = settings.models
    stages = [
        *(_collect(project, source) for source in sources),
        *(_clean(project, source) for source in sources),
        _store(project),
        _report(project),
        _passages(project),
        *(_export_encoder(project, name, model) for name, model in models.items() if model.task == "embed"),
        _index(project),
        *(stage for name, model in models.items() for stage in _recipe(project, name, model)),
        *_affinity(project),
        *(_register(project, name) for name in models),
        *_exam(project),
    ]
    return Pipeline(stages, project.stages)


def require_inputs(project: Project) -> None:
    """Raises `SettingsError` for what would fail, or be silently left out, after minutes of work."""
    if not project.settings.data.source:
        raise SettingsError("tulou.toml names no [[data.source]]; add one with a name and a url")
    exam = project.settings.exam
    if "questions" in exam.model_fields_set and not (project.folder / exam.questions).exists():
        raise SettingsError(f"exam.questions names {exam.questions!r}, which does not exist in {project.folder}")


def _recipe(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    recipes = {"classify": _classifier, "chat": _chat_model, "embed": lambda *_: []}
    return recipes[model.task](project, name, model)


# --- data -------------------------------------------------------------------------------------------------------


def _collect(project: Project, source: SourceSettings) -> Stage:
    def run(context: StageContext) -> Summary:
        from tulou.data.collect import collect
        from tulou.data.engine import open_engine

        data = project.settings.data
        with open_engine(data.engine, data.workers) as engine:
            return collect(source, project.folder, context.out, context.progress, lambda: project.state, engine)

    def digest() -> str:
        from tulou.data.collect import source_digest

        speech = _base_digest(project, source.speech_model) if source.speech_model else ""
        return source_digest(source, project.folder, lambda: project.state) + _readers() + speech

    return Stage(
        name=f"collect.{source.name}",
        title=f"Collect {source.name}",
        run=run,
        settings={
            **source.model_dump(exclude={"index", "url"}),
            "url": without_secrets(source.url),
            "url_sha256": url_digest(source.url),
        },
        raw=digest,
        code=(
            "tulou.data.collect",
            "tulou.data.kernels",
            "tulou.data.everyday",
            "tulou.data.language",
            "tulou.data.parquet",
            "tulou.core.types",
            "tulou.core.urls",
        ),
    )


def _clean(project: Project, source: SourceSettings) -> Stage:
    data = project.settings.data
    settings = data.clean
    upstream = f"collect.{source.name}"

    def run(context: StageContext) -> Summary:
        from tulou.data.clean import clean
        from tulou.data.engine import open_engine

        wants_tokens = "tokenize" in settings.sensitive.values()
        with open_engine(data.engine, data.workers) as engine:
            return clean(
                context.inputs[upstream],
                context.out,
                settings,
                context.progress,
                project=project.folder,
                token_key=project.secret("token") if wants_tokens else None,
                speaks_for_itself=not source.text,
                engine=engine,
                scratch=context.scratch,
            )

    return Stage(
        name=f"clean.{source.name}",
        title=f"Clean {source.name}",
        run=run,
        inputs=(upstream,),
        settings={**settings.model_dump(), "speaks_for_itself": not source.text},
        raw=lambda: _files_digest(project, settings.sensitive_words, settings.forbidden_words),
        code=(
            "tulou.data.clean",
            "tulou.data.kernels",
            "tulou.data.everyday",
            "tulou.data.language",
            "tulou.data.parquet",
        ),
    )


def _files_digest(project: Project, *paths: str) -> str:
    """Digest of the files at `paths`; one that is missing is reported by the stage that reads it."""
    digest = hashlib.sha256()
    for path in paths:
        found = project.folder / path
        digest.update(found.read_bytes() if path and found.is_file() else b"")
        digest.update(b"\0")
    return digest.hexdigest()


def _store(project: Project) -> Stage:
    sources = [source.name for source in project.settings.data.source]
    url = project.settings.data.store

    def run(context: StageContext) -> Summary:
        from tulou.data.store import open_store

        store = open_store(url, project.folder)
        return {
            "url": without_secrets(url),
            "datasets": {name: store.write(name, *_cleaned(context, name)) for name in sources},
        }

    def _cleaned(context: StageContext, name: str) -> tuple[str, Iterator[pa.Table]]:
        folder = context.inputs[f"clean.{name}"]
        return folder.name, _tables(folder, "documents-*.parquet")

    return Stage(
        name="store",
        title="Store",
        publishes=True,
        run=run,
        inputs=tuple(f"clean.{name}" for name in sources),
        settings={"url": without_secrets(url), "url_sha256": url_digest(url)},
        code=("tulou.data.store",),
    )


def _report(project: Project) -> Stage:
    names = [source.name for source in project.settings.data.source]

    def run(context: StageContext) -> Summary:
        from tulou.core.stage import MANIFEST, read_json
        from tulou.data.report import write_report

        def manifest(step: str, name: str) -> dict[str, Any]:
            found: dict[str, Any] = read_json(context.inputs[f"{step}.{name}"] / MANIFEST)
            return found

        sources = {
            name: {
                "collect": manifest("collect", name)["summary"],
                "clean": manifest("clean", name)["summary"],
                "seconds": {step: manifest(step, name)["seconds"] for step in ("collect", "clean")},
            }
            for name in names
        }
        write_report(context.out / "report.html", context.out / "report.json", sources)
        return {"html": "report.html", "json": "report.json"}

    return Stage(
        name="report",
        title="Report on the data",
        run=run,
        inputs=tuple(f"{step}.{name}" for name in names for step in ("collect", "clean")),
        code=("tulou.data.report",),
    )


def _passages(project: Project) -> Stage:
    indexed = [source.name for source in project.settings.data.source if source.is_indexed]
    max_chars = project.settings.data.passage_chars
    overlap_chars = project.settings.data.passage_overlap_chars

    def run(context: StageContext) -> Summary:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from tulou.core.types import PASSAGE
        from tulou.data.search.chunk import passages

        count = 0
        with pq.ParquetWriter(context.out / "passages-0.parquet", PASSAGE) as writer:
            for folder in context.inputs.values():
                batches = (batch for table in _tables(folder, "documents-*.parquet") for batch in table.to_batches())
                for batch in passages(batches, max_chars, overlap_chars):
                    writer.write_table(pa.Table.from_batches([batch], PASSAGE))
                    count += batch.num_rows
        return {"passages": count}

    return Stage(
        name="passages",
        title="Cut passages",
        run=run,
        inputs=tuple(f"clean.{name}" for name in indexed),
        settings={"max_chars": max_chars, "overlap_chars": overlap_chars},
        code=("tulou.data.search.chunk", "tulou.data.language", "tulou.core.sentences"),
    )


def _index(project: Project) -> Stage:
    encoder = f"compress.{project.settings.encoder}"
    url = project.settings.data.search

    def run(context: StageContext) -> Summary:
        from tulou.data.search import fill_index, open_home
        from tulou.service.engine import open_encoder

        home = open_home(url, project.folder)
        engine = open_encoder(context.inputs[encoder] / "fp32", threads=2)
        try:
            passages = (
                batch
                for table in _tables(context.inputs["passages"], "passages-*.parquet")
                for batch in table.to_batches()
            )
            summary = fill_index(
                passages,
                engine.encode,
                lambda dimensions: home.create(context.fingerprint, dimensions, context.scratch),
                context.progress,
            )
        finally:
            engine.close()
        home.publish(context.fingerprint, context.scratch)
        home.close()
        return summary

    return Stage(
        name="index",
        title="Index passages",
        publishes=True,
        run=run,
        inputs=("passages", encoder),
        settings={"url": without_secrets(url), "url_sha256": url_digest(url)},
        code=("tulou.data.search",),
    )


def _affinity(project: Project) -> list[Stage]:
    """What the tickets of the support application's classifier teach search; nothing where there is none."""
    intents = project.support.intents
    if intents is None:
        return []

    def run(context: StageContext) -> Summary:
        from tulou.bootstrap.retrieval import AFFINITY_FILE
        from tulou.data.search import open_home
        from tulou.data.search.affinity import learn_affinity, save_affinity, training_rows

        home = open_home(project.settings.data.search, project.folder)
        affinity = learn_affinity(training_rows(context.inputs[f"split.{intents}"]), home.open(), context.progress)
        home.close()
        save_affinity(project.search / AFFINITY_FILE, affinity)
        return {"labels": len(affinity), "documents": len({uri for weights in affinity.values() for uri in weights})}

    return [
        Stage(
            name="affinity",
            title="Learn from tickets what to find",
            publishes=True,
            run=run,
            inputs=("index", f"split.{intents}"),
            code=("tulou.data.search",),
        )
    ]


# --- models -----------------------------------------------------------------------------------------------------


def _export_encoder(project: Project, name: str, model: ModelSettings) -> Stage:
    def run(context: StageContext) -> Summary:
        from tulou.model.base import resolve_base
        from tulou.model.compress import export_encoder

        folder = resolve_base(model.base, project.folder)
        made = context.out / "fp32"
        manifest = export_encoder(folder, made, "fp32", name=name, base=model.base, fingerprint=context.fingerprint)
        return {"dimensions": manifest.dimensions, "table": [], "chosen": "fp32", "reason": "nothing was compressed"}

    return Stage(
        name=f"compress.{name}",
        title=f"Export {name}",
        run=run,
        settings=model.model_dump(),
        raw=lambda: _base_digest(project, model.base),
        code=(
            "tulou.model.compress",
            "tulou.model.base",
            "tulou.model.encoder",
            "tulou.model.vocabulary",
            "tulou.model.causal",
        ),
    )


def _classifier(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    clean = f"clean.{model.source}"

    def split(context: StageContext) -> Summary:
        from tulou.data.split import labelled

        return labelled([context.inputs[clean]], _exam_texts(project), context.out, model.seed, context.scratch)

    def train(context: StageContext) -> Summary:
        from tulou.model.finetune.classify import train_classifier

        examples = context.inputs[f"split.{name}"]
        return train_classifier(examples, context.out, context.scratch, model, project.folder, context.progress)

    return [
        Stage(
            name=f"split.{name}",
            title=f"Split {model.source} for {name}",
            run=split,
            inputs=(clean,),
            settings={"seed": model.seed},
            raw=lambda: _exam_digest(project),
            code=("tulou.data.split", "tulou.data.parquet", "tulou.data.similarity", "tulou.data.kernels"),
        ),
        Stage(
            name=f"train.{name}",
            title=f"Train {name}",
            run=train,
            inputs=(f"split.{name}",),
            settings=model.model_dump(),
            raw=lambda: _base_digest(project, model.base),
            code=(
                "tulou.model.finetune.classify",
                "tulou.model.training",
                "tulou.model.encoder",
                "tulou.model.vocabulary",
                "tulou.model.base",
            ),
        ),
        _compress(project, name, model, trained=f"train.{name}", rows=f"split.{name}"),
    ]


def _chat_model(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    sources = [source.name for source in project.settings.data.source]
    corpus = tuple(f"clean.{source}" for source in ([model.source] if model.source else sources))

    def examples(context: StageContext) -> Summary:
        from tulou.model.dataset import chat_examples

        return chat_examples(
            context.inputs["passages"], _exam_texts(project), context.out, model.seed, latest_snapshot(project.feedback)
        )

    def pretrain_(context: StageContext) -> Summary:
        from tulou.model.pretrain import pretrain

        def texts() -> Iterator[str]:
            for stage in corpus:
                for table in _tables(context.inputs[stage], "documents-*.parquet"):
                    yield from table["text"].to_pylist()

        return pretrain(texts, context.out, context.scratch, model, context.progress)

    def finetune(context: StageContext) -> Summary:
        from tulou.model.base import resolve_base
        from tulou.model.finetune.chat import finetune_chat

        is_scratch = model.base == "scratch"
        base = context.inputs[f"pretrain.{name}"] if is_scratch else resolve_base(model.base, project.folder)
        rows = context.inputs[f"examples.{name}"]
        return finetune_chat(rows, base, context.out, context.scratch, model, context.progress)

    stages = [
        Stage(
            name=f"examples.{name}",
            title=f"Write examples for {name}",
            run=examples,
            inputs=("passages",),
            settings={"seed": model.seed},
            raw=lambda: _exam_digest(project) + snapshot_digest(project.feedback),
            code=(
                "tulou.model.dataset",
                "tulou.model.questions",
                "tulou.model.rows",
                "tulou.core.prompt",
                "tulou.core.sentences",
            ),
        ),
        Stage(
            name=f"pretrain.{name}",
            title=f"Pretrain {name}",
            run=pretrain_,
            inputs=corpus,
            settings=model.model_dump(),
            code=("tulou.model.pretrain", "tulou.model.training", "tulou.model.tokenizer", "tulou.core.prompt"),
        ),
        Stage(
            name=f"finetune.{name}",
            title=f"Fine-tune {name} to chat",
            run=finetune,
            inputs=(f"examples.{name}", f"pretrain.{name}"),
            settings=model.model_dump(),
            raw=lambda: _base_digest(project, model.base),
            code=(
                "tulou.model.finetune.chat",
                "tulou.model.training",
                "tulou.model.causal",
                "tulou.model.tokenizer",
                "tulou.model.base",
            ),
        ),
        _compress(project, name, model, trained=f"finetune.{name}", rows=f"examples.{name}"),
    ]
    if model.base == "scratch":
        return stages
    return [
        replace(stage, inputs=tuple(i for i in stage.inputs if i != f"pretrain.{name}"))
        for stage in stages
        if stage.name != f"pretrain.{name}"
    ]


def _compress(project: Project, name: str, model: ModelSettings, trained: str, rows: str) -> Stage:
    settings = project.settings.compress

    def run(context: StageContext) -> Summary:
        from tulou.model.compress import compress_chat, compress_classifier

        compress = compress_chat if model.task == "chat" else compress_classifier
        return compress(
            context.inputs[trained],
            context.inputs[rows],
            context.out,
            settings,
            name=name,
            base=model.base,
            fingerprint=context.fingerprint,
            progress=context.progress,
        )

    return Stage(
        name=f"compress.{name}",
        title=f"Evaluate and compress {name}",
        run=run,
        inputs=(trained, rows),
        settings=settings.model_dump(),
        code=(
            "tulou.model.compress",
            "tulou.model.evaluate",
            "tulou.model.encoder",
            "tulou.model.vocabulary",
            "tulou.model.causal",
            "tulou.model.served",
        ),
    )


def _register(project: Project, name: str) -> Stage:
    upstream = f"compress.{name}"
    tolerance = project.settings.compress.max_accuracy_loss

    def run(context: StageContext) -> Summary:
        from tulou.bootstrap.release import release

        return release(project.registry, name, context.inputs[upstream], tolerance)

    return Stage(
        name=f"register.{name}",
        title=f"Register {name}",
        publishes=True,
        run=run,
        inputs=(upstream,),
        settings={"max_accuracy_loss": tolerance},
        code=("tulou.model.registry", "tulou.bootstrap.release"),
    )


def _exam(project: Project) -> list[Stage]:
    if not (project.folder / project.settings.exam.questions).exists():
        return []

    def run(context: StageContext) -> Summary:
        from tulou.bootstrap.assistant import exam

        return asyncio.run(exam(project, context.progress))

    affinity = [stage.name for stage in _affinity(project)]
    return [
        Stage(
            name="exam",
            title="Take the exam",
            run=run,
            inputs=("index", *affinity, *(f"register.{name}" for name in project.settings.models)),
            settings=project.settings.apps.support.model_dump(),
            raw=lambda: _exam_digest(project) + _serving_digest(project),
            code=(
                "tulou.apps",
                "tulou.bootstrap.retrieval",
                "tulou.loop.exam",
                "tulou.core.prompt",
                "tulou.core.sentences",
            ),
        )
    ]


# --- what the stages read -----------------------------------------------------------------------------------------


def _tables(folder: Path, pattern: str) -> Iterator[pa.Table]:
    """The row groups of the Parquet files in `folder`, one at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in sorted(folder.glob(pattern)):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield pa.Table.from_batches([batch])


def _exam_texts(project: Project) -> list[str]:
    path = project.folder / project.settings.exam.questions
    return [question.question for question in load_questions(path)] if path.exists() else []


def _exam_digest(project: Project) -> str:
    digest = hashlib.sha256()
    for name in (project.settings.exam.questions, project.settings.exam.off_topic):
        path = project.folder / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


def _serving_digest(project: Project) -> str:
    """Digest of which versions serve; read after they were registered, and they may have been rolled back since."""
    champions = [project.registry.champion(name) for name in project.settings.models]
    return hashlib.sha256(repr([each and each.fingerprint for each in champions]).encode()).hexdigest()[:16]


def _readers() -> str:
    """Which optional readers are installed: with one more, files that were left out can be read."""
    return " ".join(name for name in _OPTIONAL_READERS if importlib.util.find_spec(name))


def _base_digest(project: Project, base: str) -> str:
    """Digest of a base that is a folder of the user's: names, sizes and times, because weights are large."""
    folder = project.folder / base
    if not folder.is_dir():
        return base
    entries: list[Any] = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())
    ]
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:16]
