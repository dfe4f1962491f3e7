"""Pretrain a causal language model on the business's own texts, from nothing or from a base that knows languages.

From nothing: a tokenizer, then a Qwen3-shaped transformer of a few million parameters. A few hundred thousand tokens
teach the words and turns of this business, not the world, and not how to reason: fine-tuning then ties its questions to
its answers. From a base: its own tokenizer and weights, and a slower pace, so that it keeps what it knows. Either way
next-token prediction on rows cut from a corpus that lies on disk, attention running across the seams.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.progress import Progress
from tulou.core.prompt import support_messages
from tulou.core.settings import ModelSettings, PretrainSettings
from tulou.core.types import Language
from tulou.model.causal import context_length, load_causal, load_tokenizer
from tulou.model.corpus import Corpus, Rows, tokenizer_digest, write_corpus
from tulou.model.fertility import fertility, sample_by_language
from tulou.model.libraries import load_torch, load_transformers, quiet
from tulou.model.tokenizer import END_OF_TEXT, train_tokenizer
from tulou.model.vocabulary import open_tokenizer, unknown_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tulou.model.batches import Batch
    from tulou.model.learners import Speaker
    from tulou.model.loop import Plan, Report, Validation
    from tulou.model.team import Team
    from tulou.model.training import Optimizers

SCRATCH_TOKENS = 400_000  # read in all: some 40 s on two cores
SCRATCH_BATCH = 8  # rows; in the same time 4 learn no more: a step of Muon costs the same for few rows as for many
BASE_BATCH = 16
SCRATCH_SPEED = 5e-3  # Muon's: runs of 0.4M tokens learn most at 6e-3, of 0.9M at 4.5e-3; AdamW no more at half of it
BASE_SPEED = 1e-4  # a third of what bases of this size were trained at: higher ones forget (Ibrahim et al. 2024)
CONTEXT = 1024  # longest conversation that a model from scratch can hold
VALIDATIONS = 10  # in one run
PROMPT_COPIES = 50
LANGUAGES: tuple[Language, ...] = ("zh", "en")

Texts = Callable[[], Iterator[str]]
"""The corpus, read anew at each call."""


@dataclass(frozen=True)
class Material:
    """What a model is pretrained on: the corpus as ids, and the folder of the tokenizer that made them."""

    corpus: Corpus
    tokenizer: Path
    vocabulary: int
    fertility: dict[str, Any] = field(default_factory=dict)


def pretrain(
    texts: Texts,
    out: Path,
    scratch: Path,
    settings: ModelSettings,
    progress: Progress,
    base: Path | None = None,
    report: Report | None = None,
    compared: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Learn from `texts` and write model and tokenizer to `out`; both steps at once, in this process.

    Raises `ModelError` where there is too little text for one row.
    """
    material = prepare(texts, scratch, settings, progress, base, compared)
    return learn(material, out, scratch, settings, progress, base, report)


def prepare(
    texts: Texts,
    scratch: Path,
    settings: ModelSettings,
    progress: Progress,
    base: Path | None = None,
    compared: Mapping[str, Path] | None = None,
) -> Material:
    """A tokenizer (the base's, or a new one) and the corpus in its ids, in `scratch`; what is there already is kept.

    `compared` are folders with tokenizers whose fertility is told beside that of the model's own.
    """
    folder = base or scratch / "tokenizer"
    if not (folder / "tokenizer.json").is_file():
        with progress.bar("Learn a tokenizer") as bar:
            size = train_tokenizer(itertools.chain(texts(), _prompt_words()), settings.pretrain.vocabulary, folder)
            bar.note(f"{size:,} tokens")
    tokenizer = open_tokenizer(folder)
    end = _end_of_text(folder)
    with progress.bar("Encode the corpus", unit="texts") as bar:
        digest = tokenizer_digest(folder / "tokenizer.json")
        corpus = write_corpus(_counted(texts(), bar.advance), tokenizer, end, scratch / "corpus", digest)
        bar.note(f"{corpus.tokens:,} tokens")
    sample = sample_by_language(texts())
    others = {name: open_tokenizer(path) for name, path in (compared or {}).items()}
    told = {name: fertility(other, sample, unknown_id(other)) for name, other in {"own": tokenizer, **others}.items()}
    return Material(corpus, folder, tokenizer.get_vocab_size(with_added_tokens=True), told)


def learn(
    material: Material,
    out: Path,
    scratch: Path,
    settings: ModelSettings,
    progress: Progress,
    base: Path | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train on prepared `material`: `pretrain.tokens` of it, or `epochs` passes, or as much as makes a minute."""
    from tulou.model.batches import cut_steps
    from tulou.model.loop import Plan, train
    from tulou.model.lora import merge
    from tulou.model.team import current_team

    corpus, wanted = material.corpus, settings.pretrain
    context = settings.max_tokens or CONTEXT
    length = min(wanted.row_tokens, context)
    if corpus.tokens < length:
        raise ModelError(f"{corpus.tokens} tokens of text are too few to pretrain on; {length} make one row")

    # Rows, and how many steps of them.
    tokens = wanted.tokens or (settings.epochs * corpus.tokens) or SCRATCH_TOKENS
    batch_size = settings.batch_size or (BASE_BATCH if base else SCRATCH_BATCH)
    rows = Rows(corpus.tokens, length, batch_size, settings.seed)
    steps = max(1, tokens // (batch_size * length))
    team = current_team(settings.sharding)
    plan = Plan(
        steps,
        steps * batch_size * length,
        settings.seed,
        validate_every=-(-steps // VALIDATIONS),
        patience=settings.patience,
        checkpoint_every=settings.checkpoint_steps,
        recomputes=settings.gradient_checkpointing,
    )

    build = _builder(material, base, settings, context, rows, plan, progress)
    outcome = train(
        build,
        lambda learner: make_optimizers(learner, settings, is_scratch=base is None),
        cut_steps(rows.starts, lambda starts: _batch(corpus, starts, length), settings.accumulate, team),
        plan,
        scratch,
        title="Pretrain",
        validate=(lambda learner: _held_out(learner, corpus, rows, team)) if rows.held_out else None,
        progress=progress,
        report=report,
        team=team,
    )

    model = outcome.learner.model
    merge(model)
    if team.is_first:
        with quiet():
            model.save_pretrained(out)
            load_tokenizer(material.tokenizer).save_pretrained(out)
    losses = [point["loss"] for point in outcome.course.points if "loss" in point]
    return {
        "base": settings.base,
        "parameters": model.num_parameters(),
        "vocabulary": material.vocabulary,
        "fertility": material.fertility,
        "corpus_tokens": corpus.tokens,
        "corpus_characters": corpus.characters,
        "context": context_length(model),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "validation_metric": "loss",
        "validation_loss": outcome.best and outcome.best["validation"],
        **outcome.summary(),
    }


def _builder(
    material: Material,
    base: Path | None,
    settings: ModelSettings,
    context: int,
    rows: Rows,
    plan: Plan,
    progress: Progress,
) -> Callable[[], Speaker]:
    """Makes the model, ready to learn from rows of one length; compiled where that is wanted or pays."""
    torch = load_torch()
    from tulou.model.blocks import attend, compile_blocks, is_worth_compiling
    from tulou.model.learners import Speaker
    from tulou.model.lora import adapt
    from tulou.model.team import current_team
    from tulou.model.training import pick_device

    wanted, rows_at_once = settings.pretrain, -(-rows.rows_a_step // settings.accumulate)
    can_compile = wanted.compile != "never" and not plan.recomputes and current_team(settings.sharding).size == 1

    def plain() -> Speaker:
        torch.manual_seed(settings.seed)
        model = load_causal(base) if base else _from_scratch(wanted, material.vocabulary, context)
        if settings.method == "lora" and base:
            adapt(model, settings.lora)
        attend(model, rows_at_once, rows.length)
        return Speaker(model)

    def build() -> Speaker:
        learner = plain()
        is_long = is_worth_compiling(learner.model.num_parameters(), plan.tokens)
        if not can_compile or not (is_long or wanted.compile == "always"):
            return learner
        example = _batch(material.corpus, rows.starts(0)[:rows_at_once], rows.length).tensors
        with progress.bar("Compile the blocks"):
            return learner if compile_blocks(learner.to(pick_device()), example) else plain()

    return build


def make_optimizers(learner: Speaker, settings: ModelSettings, *, is_scratch: bool) -> Optimizers:
    """Muon from nothing, where it learns more in the same time; a base keeps to the AdamW that it was trained with."""
    from tulou.model.training import adamw, muon_and_adamw

    wanted = settings.pretrain
    speed = wanted.learning_rate or settings.learning_rate
    if not speed:
        speed = SCRATCH_SPEED if is_scratch else BASE_SPEED * (10 if settings.method == "lora" else 1)
    chosen = wanted.optimizer if wanted.optimizer != "auto" else "muon" if is_scratch else "adamw"
    return muon_and_adamw(learner, speed) if chosen == "muon" else adamw(learner, speed)


def _from_scratch(size: PretrainSettings, vocabulary: int, context: int) -> PreTrainedModel:
    transformers = load_transformers()
    config = transformers.Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        head_dim=size.width // size.heads,
        intermediate_size=3 * size.width,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        rope_theta=10_000.0,
        bos_token_id=None,
        eos_token_id=2,  # <|im_end|>
        pad_token_id=0,  # <|endoftext|>
        use_cache=True,
    )
    model: PreTrainedModel = transformers.Qwen3ForCausalLM(config)
    return model


def _prompt_words() -> Iterator[str]:
    """What stands in every prompt, often enough to become a few long tokens: it saves a fifth of every example."""
    for language in LANGUAGES:
        for message in support_messages("", (), language):
            yield from [message.content] * PROMPT_COPIES


def _counted(texts: Iterator[str], count: Callable[[float], None]) -> Iterator[str]:
    for text in texts:
        count(1)
        yield text


def _end_of_text(folder: Path) -> int:
    """What stands between documents: the end-of-text token where there is one, else the one that ends answers."""
    tokenizer = load_tokenizer(folder)
    known = tokenizer.get_vocab().get(END_OF_TEXT, tokenizer.eos_token_id)
    if known is None:
        raise ModelError(f"the tokenizer in {folder} has no token that ends a text; give it an eos_token")
    return int(known)


def _batch(corpus: Corpus, starts: Sequence[int], length: int) -> Batch:
    import torch

    from tulou.model.batches import Batch
    from tulou.model.training import pick_device

    ids = torch.tensor([corpus.stretch(start, length) for start in starts], device=pick_device())  # (B, T)
    names = tuple(f"corpus tokens {start}-{start + length}" for start in starts)
    return Batch({"input_ids": ids, "targets": ids}, names, weight=ids.numel(), tokens=ids.numel())


def _held_out(learner: Speaker, corpus: Corpus, rows: Rows, team: Team) -> Validation:
    """Mean loss on the rows that are held out; the best is the lowest."""
    import torch

    from tulou.model.loop import Validation
    from tulou.model.training import autocast, pick_device

    total = count = 0.0
    starts = rows.held_out
    uncompiled = torch.compiler.set_stance("force_eager")  # for a few rows, compiling once more would not pay
    with torch.no_grad(), autocast(pick_device()), uncompiled:
        for start in team.share(range(0, len(starts), rows.rows_a_step)):
            chosen = starts[start : start + rows.rows_a_step]
            total += float(learner(**_batch(corpus, chosen, rows.length).tensors)) * len(chosen)
            count += len(chosen)
    total, count = team.sum(total, count)
    loss = total / count
    return Validation(-loss, loss, {"validation_loss": round(loss, 5)})
