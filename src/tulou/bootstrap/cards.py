"""A model card's facts, gathered from the stages that made the model."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tulou.bootstrap.inputs import exam_texts, tables
from tulou.bootstrap.judge_stages import OF_SEARCH, ROWS, grounds
from tulou.bootstrap.model_stages import learnt_in
from tulou.bootstrap.project import Project
from tulou.bootstrap.release import left_out
from tulou.core.settings import ModelSettings
from tulou.core.stage import MANIFEST, StageContext, Summary, read_json
from tulou.core.tables import CONVERSATION, LABELLED

if TYPE_CHECKING:
    from tulou.data.search import Rerank


@dataclass(frozen=True)
class Judged:
    """A model under judgement."""

    project: Project
    name: str
    model: ModelSettings
    inputs: Mapping[str, Path]  # outputs of the stages that made it
    folder: Path  # what serves


_COMPRESSION = ("table", "chosen", "reason", "front", "max_accuracy_loss")  # of a compress stage's summary
RETRIEVED = 10  # documents of a search that are looked at
PASSAGES_A_DOCUMENT = 4  # so many passages are asked for each of them


def make_card(project: Project, name: str, model: ModelSettings, context: StageContext) -> Summary:
    """Judge the model whose stages are `context.inputs`, write its card and return the headline figures."""
    from tulou.model.card import write_card
    from tulou.model.passport import find_ungrounded

    manifests: dict[str, dict[str, Any]] = {
        stage: read_json(folder / MANIFEST) for stage, folder in context.inputs.items()
    }
    compressed: dict[str, Any] = manifests[f"compress.{name}"]["summary"]
    folder = context.inputs[f"compress.{name}"] / compressed["chosen"]
    with context.progress.bar(f"Judge {name}", total=2, unit="steps") as bar:
        results = _RESULTS[model.task](Judged(project, name, model, context.inputs, folder))
        bar.advance()
        passport = None
        if model.task not in OF_SEARCH:
            passport = _passport(project, name, model, context, manifests)
            passport["warnings"] = [*find_ungrounded(results), *passport["warnings"]]
        bar.advance()
    card = {
        "name": name,
        "task": model.task,
        "base": model.base,
        "fingerprint": manifests[f"compress.{name}"]["fingerprint"],
        "precision": compressed["chosen"],
        "results": results,
        "passport": passport,
        "compression": {
            **{key: compressed[key] for key in _COMPRESSION if key in compressed},
            "left_out": left_out(compressed),
        },
        "parity": manifests[f"parity.{name}"]["summary"]["precisions"],
        "data": _data(name, model, context.inputs, manifests),
        "budget": _budget(project, manifests),
        "settings": {"model": model.model_dump(), "judge": project.settings.judge.model_dump()},
    }
    write_card(context.out, card)
    return {"html": "card.html", "json": "card.json", **_headline(results, passport)}


def attach_card(card: Path, version: Path) -> None:
    """Lay the card beside the files of a registered version, so that it stays when stage outputs are pruned."""
    for path in card.glob("card.*"):
        shutil.copyfile(path, version / path.name)


def _headline(results: Mapping[str, Any], passport: Mapping[str, Any] | None) -> Summary:
    shown = ("accuracy", "macro_f1", "perplexity", "token_accuracy")
    found: Summary = {key: results[key] for key in shown if key in results}
    if "calibration" in results:
        found["expected_calibration_error"] = results["calibration"]["expected_calibration_error"]
    if results.get("groundedness"):
        found["grounded_sentence_share"] = results["groundedness"]["grounded_sentence_share"]
    if results.get("retrieval"):
        found["mrr"] = results["retrieval"]["mrr"]
    return {**found, "warnings": passport["warnings"] if passport else []}


def _classifier(judged: Judged) -> dict[str, Any]:
    from tulou.model.evaluate import report_classifier
    from tulou.model.evaluate.classifier import held_out
    from tulou.model.served import ServedEncoder

    served = ServedEncoder(judged.folder)
    rows = held_out(judged.inputs[f"split.{judged.name}"])
    segments = judged.project.settings.judge.segments
    records = judged.inputs[f"clean.{judged.model.source}"]
    columns = _columns([records], [row["document_id"] for row in rows], segments)
    return report_classifier(served, served.manifest.labels, rows, columns)


def _chat(judged: Judged) -> dict[str, Any]:
    from tulou.model.evaluate import report_chat

    return report_chat(judged.folder, judged.inputs[f"examples.{judged.name}"], supports=grounds)


def _embedder(judged: Judged) -> dict[str, Any]:
    return _found(judged, judged.folder) if judged.name == judged.project.settings.encoder else {}


def _reranker(judged: Judged) -> dict[str, Any]:
    """What search finds with the hits in the reranker's order."""
    from tulou.service.engine import open_encoder

    exported = judged.inputs[f"compress.{judged.project.settings.encoder}"]
    engine = open_encoder(judged.folder, threads=2)
    try:
        return _found(
            judged,
            exported / read_json(exported / MANIFEST)["summary"]["chosen"],
            lambda query, texts: engine.encode([(query, text) for text in texts])[:, 0].tolist(),
        )
    finally:
        engine.close()


def _found(judged: Judged, encoder: Path, rerank: Rerank | None = None) -> dict[str, Any]:
    """Hybrid search with this encoder over the index just made, by the exam's questions; {} where there is no exam."""
    from tulou.data.search import open_home
    from tulou.loop.exam import load_questions
    from tulou.model.evaluate import Pair, evaluate_retrieval
    from tulou.service.engine import open_encoder
    from tulou.service.engine.coverage import Coverage

    settings = judged.project.settings
    path = judged.project.folder / settings.exam.questions
    asked = load_questions(path) if path.exists() else []
    pairs = [Pair(each.question, frozenset(each.documents), each.language) for each in asked if each.documents]
    if not pairs:
        return {}
    home = open_home(settings.data.search, judged.project.folder)
    engine, coverage = open_encoder(encoder, threads=2), Coverage.of(encoder)
    try:
        index = home.open()

        def search(question: str) -> list[str]:
            weight = coverage(question)
            vector = engine.encode([question])[0] if weight else None
            wanted = RETRIEVED * PASSAGES_A_DOCUMENT
            hits = index.search(question, vector, wanted, vector_weight=weight, rerank=rerank)
            return [hit.passage.uri for hit in hits]

        return {"retrieval": evaluate_retrieval(pairs, search)}
    finally:
        engine.close()
        home.close()


_RESULTS: dict[str, Callable[[Judged], dict[str, Any]]] = {
    "classify": _classifier,
    "chat": _chat,
    "embed": _embedder,
    "rerank": _reranker,
}


def _passport(
    project: Project, name: str, model: ModelSettings, context: StageContext, manifests: Mapping[str, Any]
) -> dict[str, Any]:
    """The passport, its `before` being the curves of the stages in which the model learnt before the last one."""
    from tulou.model.passport import chat_passport, classifier_passport, curve

    write = chat_passport if model.task == "chat" else classifier_passport
    *before, trained = learnt_in(name, model)
    passport = write(
        context.inputs[trained],
        context.inputs[f"{ROWS[model.task]}.{name}"],
        exam_texts(project),
        curve(manifests[trained]["summary"]),
        project.settings.judge.canaries,
        model.seed,
    )
    return {
        **passport,
        "stage": trained,
        "before": [{"stage": stage, **curve(manifests[stage]["summary"])} for stage in before],
    }


def _data(name: str, model: ModelSettings, inputs: Mapping[str, Path], manifests: Mapping[str, Any]) -> dict[str, Any]:
    fingerprints = {stage: manifest["fingerprint"] for stage, manifest in manifests.items()}
    if model.task in OF_SEARCH:
        return {"fingerprints": fingerprints}
    from tulou.model.rows import read_rows

    schema = CONVERSATION if model.task == "chat" else LABELLED
    rows = list(read_rows(inputs[f"{ROWS[model.task]}.{name}"], schema))
    train = {row["document_id"] for row in rows if row["split"] == "train"}
    cleaned = {stage: folder for stage, folder in inputs.items() if stage.startswith("clean.")}
    return {
        "splits": dict(Counter(row["split"] for row in rows)),
        "languages": dict(Counter(row["language"] for row in rows if row["split"] == "train")),
        "labels": dict(Counter(row["label"] for row in rows if row["split"] == "train")) if "label" in rows[0] else {},
        "sources": {
            stage.partition(".")[2]: {
                "fingerprint": manifests[stage]["fingerprint"],
                **{key: manifests[stage]["summary"][key] for key in ("in", "kept")},
            }
            for stage in cleaned
        },
        "cleaning": _cleaning(cleaned.values(), train),
        "fingerprints": fingerprints,
    }


def _cleaning(folders: Iterable[Path], records: set[str]) -> dict[str, Any]:
    """What cleaning did to `records`: how many of them it changed, and how often by which rule."""
    rules: Counter[str] = Counter()
    touched: set[str] = set()
    wanted = pa.array(sorted(records), pa.string())
    for folder in folders:
        for table in tables(folder, "decisions-*.parquet"):
            mine = table.filter(pc.is_in(table["record_id"], wanted))
            rules.update(f"{row['step']}.{row['rule']}" for row in mine.select(["step", "rule"]).to_pylist())
            touched.update(mine["record_id"].to_pylist())
    return {"records": len(records), "touched": len(touched), "rules": dict(rules.most_common())}


def _columns(folders: Sequence[Path], ids: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """For each of the cleaned records `ids` its values in the columns `names`."""
    values: dict[str, dict[str, Any]] = {}
    wanted = pa.array(sorted(set(ids)), pa.string())
    for folder in folders if names else ():
        for table in tables(folder, "documents-*.parquet"):
            mine = table.filter(pc.is_in(table["id"], wanted)).select(list(dict.fromkeys(["id", *names])))
            values |= {row["id"]: row for row in mine.to_pylist()}
    return {name: [str((values.get(id_) or {}).get(name) or "–") for id_ in ids] for name in names}


def _budget(project: Project, manifests: Mapping[str, Any]) -> list[dict[str, Any]]:
    from tulou.bootstrap.budget import beside, stored_plan

    plan = stored_plan(project)
    return [beside(manifest, plan) for manifest in manifests.values()]
