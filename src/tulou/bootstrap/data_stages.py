"""The stages of the data storey: collect, clean, store, report, passages, index, affinity.

Each function makes one stage: what it reads, what it depends on, and which code it is a function of. A stage imports
its heavy libraries when it runs, so building the list costs milliseconds.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from tulou.bootstrap.inputs import base_digest, tables
from tulou.bootstrap.project import Project
from tulou.core.settings import SourceSettings
from tulou.core.stage import Stage, StageContext, Summary
from tulou.core.urls import url_digest, without_secrets

if TYPE_CHECKING:
    import pyarrow as pa

_OPTIONAL_READERS = (
    "rapidocr",
    "pocketsphinx",
    "faster_whisper",
    "av",
)  # what pictures and sound are read with, where installed


def collect(project: Project, source: SourceSettings) -> Stage:
    def run(context: StageContext) -> Summary:
        from tulou.data.collect import collect
        from tulou.data.engine import open_engine

        data = project.settings.data
        with open_engine(data.engine, data.workers) as engine:
            return collect(source, project.folder, context.out, context.progress, lambda: project.state, engine)

    def digest() -> str:
        from tulou.data.collect import source_digest
        from tulou.data.engine import make_ready

        data = project.settings.data
        speech = base_digest(project, source.speech_model) if source.speech_model else ""
        soon = partial(make_ready, data.engine, data.workers)
        return source_digest(source, project.folder, lambda: project.state, soon) + _readers() + speech

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
            "tulou.core.tables",
            "tulou.core.types",
            "tulou.core.urls",
        ),
    )


def clean(project: Project, source: SourceSettings) -> Stage:
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


def store(project: Project) -> Stage:
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
        return folder.name, tables(folder, "documents-*.parquet")

    return Stage(
        name="store",
        title="Store",
        publishes=True,
        run=run,
        inputs=tuple(f"clean.{name}" for name in sources),
        settings={"url": without_secrets(url), "url_sha256": url_digest(url)},
        code=("tulou.data.store",),
    )


def report(project: Project) -> Stage:
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


def passages(project: Project) -> Stage:
    indexed = [source.name for source in project.settings.data.source if source.is_indexed]
    max_chars = project.settings.data.passage_chars
    overlap_chars = project.settings.data.passage_overlap_chars

    def run(context: StageContext) -> Summary:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from tulou.core.tables import PASSAGE
        from tulou.data.search.chunk import passages

        count = 0
        with pq.ParquetWriter(context.out / "passages-0.parquet", PASSAGE) as writer:
            for folder in context.inputs.values():
                batches = (batch for table in tables(folder, "documents-*.parquet") for batch in table.to_batches())
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


def index(project: Project) -> Stage:
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
                for table in tables(context.inputs["passages"], "passages-*.parquet")
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


def affinity(project: Project) -> list[Stage]:
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


def _readers() -> str:
    """Which optional readers are installed: with one more, files that were left out can be read."""
    return " ".join(name for name in _OPTIONAL_READERS if importlib.util.find_spec(name))
