"""The stages that judge a model before it is registered: parity, then the card with its passport.

The service's engine is opened here and handed to the parity gate, which knows no service; the application's rule of
what is grounded is handed to the evaluation in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tulou.bootstrap.inputs import base_digest, exam_digest, tables
from tulou.bootstrap.model_stages import learnt_in, trained_by
from tulou.bootstrap.project import Project
from tulou.core.settings import ModelSettings
from tulou.core.stage import Stage, StageContext, Summary
from tulou.core.types import Language, Message, Passage

ROWS = {"classify": "split", "chat": "examples"}
OF_SEARCH = ("embed", "rerank")  # tasks of models that are judged by what search finds

_CODE = (
    "tulou.model.evaluate",
    "tulou.model.causal",
    "tulou.model.encoder",
    "tulou.model.served",
    "tulou.model.served_torch",
    "tulou.model.vocabulary",
)


def judge(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    return [parity(project, name, model), card(project, name, model)]


def parity(project: Project, name: str, model: ModelSettings) -> Stage:
    settings = project.settings.judge
    trained = trained_by(name, model)
    rows = "passages" if model.task in OF_SEARCH else f"{ROWS[model.task]}.{name}"

    def run(context: StageContext) -> Summary:
        from tulou.model.base import resolve_base
        from tulou.model.parity import compare_chat, compare_encoder, compare_reranker, require_parity

        source = context.inputs[trained] if trained else resolve_base(model.base, project.folder)
        probes = _probes(context.inputs[rows], model.task, settings.parity_probes)
        verdicts = []
        with context.progress.bar(f"Compare {name}", unit="precisions") as bar:
            for folder in served_folders(context.inputs[f"compress.{name}"]):
                with _opened(folder) as engine:
                    if model.task == "chat":
                        found = compare_chat(source, folder, probes, _speaker(engine), settings.parity_tolerance)
                    elif model.task == "rerank":
                        found = compare_reranker(source, folder, probes, engine.encode, settings.parity_tolerance)
                    else:
                        found = compare_encoder(source, folder, probes, engine.encode, settings.parity_tolerance)
                verdicts.append(found)
                bar.advance()
        return {"precisions": require_parity(name, verdicts)}

    return Stage(
        name=f"parity.{name}",
        title=f"Compare {name} as served and as trained",
        run=run,
        inputs=(f"compress.{name}", rows, *((trained,) if trained else ())),
        settings={"probes": settings.parity_probes, "tolerance": settings.parity_tolerance},
        raw=lambda: base_digest(project, model.base),
        code=("tulou.model.parity", *_CODE),
    )


def card(project: Project, name: str, model: ModelSettings) -> Stage:
    sources = [source.name for source in project.settings.data.source]
    cleaned = tuple(f"clean.{source}" for source in ([model.source] if model.source else sources))
    learnt = learnt_in(name, model)
    made = ("index",) if model.task in OF_SEARCH or not learnt else (f"{ROWS[model.task]}.{name}", *learnt)
    if model.task == "rerank":
        made = ("index", f"compress.{project.settings.encoder}")

    def run(context: StageContext) -> Summary:
        from tulou.bootstrap.cards import make_card

        return make_card(project, name, model, context)

    return Stage(
        name=f"card.{name}",
        title=f"Judge {name} and write its card",
        run=run,
        inputs=(*(cleaned if model.task not in OF_SEARCH else ()), *made, f"compress.{name}", f"parity.{name}"),
        settings=project.settings.judge.model_dump(),
        raw=lambda: exam_digest(project),
        code=(
            "tulou.bootstrap.cards",
            "tulou.model.card",
            "tulou.model.passport",
            "tulou.apps.support.grounding",
            *_CODE,
        ),
    )


def grounds(sentence: str, passages: Sequence[str], language: str) -> bool:
    """The application's rule, as `tulou.model.evaluate` asks it: entries of the prompt in place of passages."""
    from tulou.apps.support.grounding import judge_sentence

    shown = []
    for place, entry in enumerate(passages):
        head, bracket, body = entry.partition("] ")
        heading, text = (head.removeprefix("["), body) if bracket else ("", entry)
        shown.append(Passage(str(place), "", "", "", "", "", heading, text, language))
    return judge_sentence(sentence, cast("Language", language), shown).is_grounded


def served_folders(compressed: Path) -> list[Path]:
    """The folders of a compress stage that can be served."""
    return sorted(path.parent for path in compressed.glob("*/model.json"))


def _probes(folder: Path, task: str, count: int) -> list[Any]:
    """Held-out texts, or conversations without their last answer, spread over the rows of `folder`."""
    from tulou.core.tables import CONVERSATION, LABELLED
    from tulou.model.rows import read_rows

    if task == "embed":
        texts = [text for table in tables(folder, "passages-*.parquet") for text in table["text"].to_pylist()]
        return _spread(texts, count)
    if task == "rerank":  # each text with the title or heading above it for its query
        rows = [row for table in tables(folder, "passages-*.parquet") for row in table.to_pylist()]
        return [(row["heading"] or row["title"] or row["text"][:40], row["text"]) for row in _spread(rows, count)]
    if task == "classify":
        rows = list(read_rows(folder, LABELLED))
        return _spread([row["text"] for row in rows if row["split"] != "train"] or [row["text"] for row in rows], count)
    rows = list(read_rows(folder, CONVERSATION))
    chosen = [row for row in rows if row["split"] != "train"] or rows
    return [row["messages"][:-1] for row in _spread(chosen, count)]


def _spread(values: list[Any], count: int) -> list[Any]:
    return values[:: max(1, len(values) // count)][:count]


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """The service's engine on a model folder."""
    from tulou.service.engine import open_engine

    engine = open_engine(folder, threads=2)
    try:
        yield engine
    finally:
        engine.close()


def _speaker(engine: Any) -> Any:
    from tulou.service.engine import Generation

    async def answer(messages: list[dict[str, str]], max_tokens: int) -> str:
        prompt = tuple(Message(cast("Any", each["role"]), each["content"]) for each in messages)
        return "".join([delta.text async for delta in engine.generate(Generation(prompt, max_tokens))])

    return lambda messages, max_tokens: asyncio.run(answer(messages, max_tokens))
