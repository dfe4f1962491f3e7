"""The stages of the model storey, for each model: its rows, pretraining, training, preferences, compress, register."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tulou.bootstrap.inputs import base_digest, exam_digest, exam_texts, read_splits, tables
from tulou.bootstrap.project import Project
from tulou.core.compression import without_shaping
from tulou.core.settings import ModelSettings
from tulou.core.stage import MANIFEST, Stage, StageContext, Summary

TRAINING = ("train", "pretrain", "finetune")  # steps that begin with a base, or with the model they go on from

# What every training is made of: its code is part of each training stage's fingerprint.
_LOOP = (
    *(
        "tulou.model.loop",
        "tulou.model.batches",
        "tulou.model.learners",
        "tulou.model.training",
        "tulou.model.muon",
        "tulou.model.checkpoint",
    ),
    *("tulou.model.team", "tulou.model.lora", "tulou.model.base"),
)


def recipe(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    recipes = {"classify": _classifier, "chat": _chat_model, "embed": lambda *_: [], "rerank": _reranker}
    return recipes[model.task](project, name, model)


def trained_by(name: str, model: ModelSettings) -> str | None:
    """The stage whose output is the trained model; None where the base is served as it is."""
    if model.task == "rerank":
        return None
    if model.task == "embed":
        return f"train.{name}" if model.learns_pairs else None
    if model.task == "classify":
        return f"train.{name}"
    return f"prefer.{name}" if model.preference else f"finetune.{name}"


def learnt_in(name: str, model: ModelSettings) -> list[str]:
    """Every stage in which the model learns, the last one's output being the trained model."""
    trained = trained_by(name, model)
    if model.task != "chat" or trained is None:
        return [trained] if trained else []
    tuned = f"finetune.{name}"
    return [*([f"pretrain.{name}"] if _is_pretrained(model) else []), tuned, *([trained] if trained != tuned else [])]


def _is_pretrained(model: ModelSettings) -> bool:
    return model.base == "scratch" or model.pretrain.tokens > 0


def _train(
    owner: Project, name: str, model: ModelSettings, context: StageContext, work: Callable[..., Summary], **given: Any
) -> Summary:
    """Run a training recipe where the model's `engine` says, its curve going to MLflow."""
    from tulou.model.curves import curve
    from tulou.model.distributed import open_launch

    learn = partial(
        open_launch(model),
        work,
        out=context.out,
        scratch=context.scratch,
        settings=model,
        progress=context.progress,
        **given,
    )
    if context.is_trial:
        return learn(report=None)
    settings = model.model_dump(include={"task", "base", "method", "seed", "engine", "sharding"})
    registry = owner.registry
    with curve(
        registry.client, registry.full_name(name), context.fingerprint, {"stage": context.name, **settings}
    ) as report:
        summary = learn(report=report)
    return {**summary, "mlflow_run": report.run_id, **({"mlflow_points_lost": report.lost} if report.lost else {})}


def encoder(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    """A search encoder, ready before the index: trained where it has pairs to learn from, else taken as it is."""
    if not model.learns_pairs:
        return [_export_encoder(project, name, model)]
    clicks = f"clean.{model.source}" if model.source else None

    def pairs(context: StageContext) -> Summary:
        from tulou.data.search.hybrid import embedded_text
        from tulou.model.pairs import search_pairs

        return search_pairs(
            context.inputs["passages"],
            exam_texts(project),
            context.out,
            model.seed,
            embedded_text,
            makes_questions="passages" in model.pairs,
            clicks=context.inputs[clicks] if clicks else None,
            feedback=_snapshot(project) if "feedback" in model.pairs else None,
        )

    def train(context: StageContext) -> Summary:
        from tulou.model.finetune.embed import train_encoder

        rows = context.inputs[f"pairs.{name}"]
        return _train(project, name, model, context, train_encoder, pairs=rows, project=project.folder)

    return [
        Stage(
            name=f"pairs.{name}",
            title=f"Pair questions and passages for {name}",
            run=pairs,
            inputs=("passages", *([clicks] if clicks else [])),
            settings={"seed": model.seed, "pairs": model.pairs},
            raw=lambda: exam_digest(project) + (_snapshot_digest(project) if "feedback" in model.pairs else ""),
            code=("tulou.model.pairs", "tulou.model.dataset", "tulou.model.questions", "tulou.data.search.hybrid"),
        ),
        Stage(
            name=f"train.{name}",
            title=f"Train {name}",
            run=train,
            inputs=(f"pairs.{name}",),
            settings=model.model_dump(),
            raw=lambda: base_digest(project, model.base),
            code=("tulou.model.finetune.embed", "tulou.model.encoder", "tulou.model.vocabulary", *_LOOP),
        ),
        _export_encoder(project, name, model, trained=f"train.{name}"),
    ]


def _export_encoder(project: Project, name: str, model: ModelSettings, trained: str | None = None) -> Stage:
    def run(context: StageContext) -> Summary:
        from tulou.model.base import resolve_base
        from tulou.model.compress import export_encoder

        folder = context.inputs[trained] if trained else resolve_base(model.base, project.folder)
        made = context.out / "fp32"
        manifest = export_encoder(folder, made, "fp32", name=name, base=model.base, fingerprint=context.fingerprint)
        return {"dimensions": manifest.dimensions, "table": [], "chosen": "fp32", "reason": "nothing was compressed"}

    return Stage(
        name=f"compress.{name}",
        title=f"Export {name}",
        run=run,
        inputs=(trained,) if trained else (),
        settings=model.model_dump(),
        raw=lambda: base_digest(project, model.base),
        code=(
            "tulou.model.compress",
            "tulou.model.base",
            "tulou.model.encoder",
            "tulou.model.narrowed",
            "tulou.model.vocabulary",
            "tulou.model.causal",
        ),
    )


def _reranker(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    """Taken as it is, like a search encoder without pairs."""

    def run(context: StageContext) -> Summary:
        from tulou.model.base import resolve_base
        from tulou.model.compress import export_reranker

        folder = resolve_base(model.base, project.folder)
        export_reranker(folder, context.out / "fp32", name=name, base=model.base, fingerprint=context.fingerprint)
        return {"table": [], "chosen": "fp32", "reason": "nothing was compressed"}

    return [
        Stage(
            name=f"compress.{name}",
            title=f"Export {name}",
            run=run,
            settings=model.model_dump(),
            raw=lambda: base_digest(project, model.base),
            code=("tulou.model.compress", "tulou.model.base", "tulou.model.reranker", "tulou.model.vocabulary"),
        )
    ]


def _classifier(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    clean = f"clean.{model.source}"
    canaries = project.settings.judge.canaries

    def split(context: StageContext) -> Summary:
        from tulou.data.split import labelled

        return labelled([context.inputs[clean]], exam_texts(project), context.out, model.seed, context.scratch)

    def train(context: StageContext) -> Summary:
        from tulou.model.finetune.classify import train_classifier
        from tulou.model.passport import plant_in_labels

        examples = plant_in_labels(context.inputs[f"split.{name}"], context.scratch / "planted", canaries, model.seed)
        return _train(project, name, model, context, train_classifier, examples=examples, project=project.folder)

    return [
        Stage(
            name=f"split.{name}",
            title=f"Split {model.source} for {name}",
            run=split,
            inputs=(clean,),
            settings={"seed": model.seed},
            raw=lambda: exam_digest(project),
            code=("tulou.data.split", "tulou.data.parquet", "tulou.data.similarity", "tulou.data.kernels"),
        ),
        Stage(
            name=f"train.{name}",
            title=f"Train {name}",
            run=train,
            inputs=(f"split.{name}",),
            settings={**model.model_dump(), "canaries": canaries},
            raw=lambda: base_digest(project, model.base),
            code=(
                *("tulou.model.finetune.classify", "tulou.model.encoder", "tulou.model.vocabulary"),
                *("tulou.model.passport.canaries", *_LOOP),
            ),
        ),
        _compress(project, name, model, trained=f"train.{name}", rows=f"split.{name}"),
    ]


def _chat_model(project: Project, name: str, model: ModelSettings) -> list[Stage]:
    sources = [source.name for source in project.settings.data.source]
    corpus = tuple(f"clean.{source}" for source in ([model.source] if model.source else sources))
    canaries = project.settings.judge.canaries

    def examples(context: StageContext) -> Summary:
        from tulou.model.dataset import chat_examples

        return chat_examples(
            context.inputs["passages"], exam_texts(project), context.out, model.seed, _snapshot(project)
        )

    is_scratch, is_pretrained = model.base == "scratch", _is_pretrained(model)

    def pretrain(context: StageContext) -> Summary:
        from tulou.model.base import resolve_base
        from tulou.model.pretrain import learn, prepare

        def texts() -> Iterator[str]:
            for stage in corpus:
                for table in tables(context.inputs[stage], "documents-*.parquet"):
                    yield from table["text"].to_pylist()

        base = None if is_scratch else resolve_base(model.base, project.folder)
        compared = {other: resolve_base(other, project.folder) for other in model.pretrain.compare_tokenizers}
        material = prepare(texts, context.scratch, model, context.progress, base, compared)
        return _train(project, name, model, context, learn, material=material, base=base)

    def finetune(context: StageContext) -> Summary:
        from tulou.model.base import resolve_base
        from tulou.model.finetune.chat import finetune_chat
        from tulou.model.passport import plant_in_conversations

        base = context.inputs[f"pretrain.{name}"] if is_pretrained else resolve_base(model.base, project.folder)
        rows = plant_in_conversations(
            context.inputs[f"examples.{name}"], context.scratch / "planted", canaries, model.seed
        )
        return _train(project, name, model, context, finetune_chat, examples=rows, base=base)

    stages = [
        Stage(
            name=f"examples.{name}",
            title=f"Write examples for {name}",
            run=examples,
            inputs=("passages",),
            settings={"seed": model.seed},
            raw=lambda: exam_digest(project) + _snapshot_digest(project),
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
            run=pretrain,
            inputs=corpus,
            settings=model.model_dump(),
            raw=None if is_scratch else lambda: base_digest(project, model.base),
            code=(
                *("tulou.model.pretrain", "tulou.model.blocks", "tulou.model.corpus", "tulou.model.tokenizer"),
                *("tulou.core.prompt", *_LOOP),
            ),
        ),
        Stage(
            name=f"finetune.{name}",
            title=f"Fine-tune {name} to chat",
            run=finetune,
            inputs=(f"examples.{name}", f"pretrain.{name}"),
            settings={**model.model_dump(), "canaries": canaries},
            raw=lambda: base_digest(project, model.base),
            code=(
                *("tulou.model.finetune.chat", "tulou.model.causal", "tulou.model.packing", "tulou.model.tokenizer"),
                *("tulou.model.passport.canaries", *_LOOP),
            ),
        ),
        *([_prefer(project, name, model)] if model.preference else []),
        _compress(
            project,
            name,
            model,
            trained=trained_by(name, model) or "",
            rows=f"examples.{name}",
        ),
    ]
    if is_pretrained:
        return stages
    return [
        replace(stage, inputs=tuple(i for i in stage.inputs if i != f"pretrain.{name}"))
        for stage in stages
        if stage.name != f"pretrain.{name}"
    ]


def _prefer(project: Project, name: str, model: ModelSettings) -> Stage:
    def run(context: StageContext) -> Summary:
        from tulou.loop.feedback import preferences_of
        from tulou.model.finetune.prefer import train_preferences

        base, snapshot = context.inputs[f"finetune.{name}"], _snapshot(project)
        preferences = preferences_of(snapshot) if snapshot else None
        given = read_splits(preferences) if preferences and preferences.exists() else {}
        if not given.get("train"):
            shutil.copytree(base, context.out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
            return {"pairs": given, "skipped": "no correction and no pair of thumbs to learn from yet"}
        return _train(project, name, model, context, train_preferences, preferences=preferences, base=base)

    return Stage(
        name=f"prefer.{name}",
        title=f"Teach {name} what people prefer",
        run=run,
        inputs=(f"finetune.{name}",),
        settings=model.model_dump(),
        raw=lambda: _snapshot_digest(project),
        code=("tulou.model.finetune.prefer", "tulou.model.causal", "tulou.model.packing", *_LOOP),
    )


def _compress(project: Project, name: str, model: ModelSettings, trained: str, rows: str) -> Stage:
    settings = project.settings.compress

    def run(context: StageContext) -> Summary:
        from tulou.model.compress import compress_chat, compress_classifier

        compress = compress_chat if model.task == "chat" else compress_classifier
        exported = {"methods": without_shaping(settings.methods)}  # the plan adds what training the others again takes
        return compress(
            context.inputs[trained],
            context.inputs[rows],
            context.out,
            context.scratch,
            settings.model_copy(update=exported) if context.is_trial else settings,
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
            "tulou.model.narrowed",
            "tulou.model.vocabulary",
            "tulou.model.causal",
            "tulou.model.served",
            "tulou.model.served_torch",
            "tulou.core.compression",
        ),
    )


def register(project: Project, name: str) -> Stage:
    upstream = f"compress.{name}"
    tolerance = project.settings.compress.max_accuracy_loss
    promotes = project.settings.registry.promote == "auto"

    def run(context: StageContext) -> Summary:
        from tulou.bootstrap.cards import attach_card
        from tulou.bootstrap.release import release

        summary = release(project.registry, name, context.inputs[upstream], tolerance, promotes=promotes)
        attach_card(context.inputs[f"card.{name}"], project.registry.find(name, summary["version"]).folder.parent)
        return summary

    return Stage(
        name=f"register.{name}",
        title=f"Register {name}",
        publishes=True,
        run=run,
        inputs=(upstream, f"parity.{name}", f"card.{name}"),
        settings={"max_accuracy_loss": tolerance, "promotes": promotes},
        code=("tulou.model.registry", "tulou.bootstrap.release"),
    )


# What people said is read by libraries that take a fifth of a second to load, and wanted by some stages only.


def _snapshot(project: Project) -> Path | None:
    from tulou.loop.feedback import latest_snapshot

    return latest_snapshot(project.feedback)


def _snapshot_digest(project: Project) -> str:
    from tulou.loop.feedback import snapshot_digest

    return snapshot_digest(project.feedback)
