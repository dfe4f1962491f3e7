"""Pretrain a small causal language model from nothing on the business's own texts.

Tokenizer, then a Qwen3-shaped transformer of a few million parameters, then next-token prediction on packed rows:
documents one after another, cut every T tokens, no padding, attention running across the seams. A few hundred thousand
tokens teach the words and turns of this business, not the world, and not how to reason: fine-tuning then ties its
questions to its answers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.progress import Progress
from tulou.core.prompt import support_messages
from tulou.core.settings import ModelSettings
from tulou.core.types import Language
from tulou.model.libraries import load_torch, load_transformers, quiet
from tulou.model.tokenizer import END_OF_TEXT, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Recipe:
    """Sized for about a minute on two cores."""

    vocab_size: int = 6144
    width: int = 256
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    context: int = 1024  # longest conversation that the model can hold
    row_tokens: int = 256  # T of a training row; shorter rows are cheaper, and rotary positions stretch in fine-tuning
    batch_rows: int = 4  # B; small, because so short a run needs many steps more than it needs smooth ones
    tokens_seen: int = 400_000
    learning_rate: float = 3e-3


CHECKPOINTS = 5  # in one run
PROMPT_COPIES = 50
LANGUAGES: tuple[Language, ...] = ("zh", "en")


def pretrain(
    texts: Callable[[], Iterator[str]],
    out: Path,
    scratch: Path,
    settings: ModelSettings,
    progress: Progress,
    recipe: Recipe | None = None,
) -> dict[str, Any]:
    """Learn from what `texts()` yields (called anew for each pass), write model and tokenizer to `out`.

    `settings.epochs` passes over the corpus, or as many as make `recipe.tokens_seen`. Raises `ModelError` where there
    is too little text for one row.
    """
    torch = load_torch()
    from tulou.model.training import Checkpoint, autocast, muon_and_adamw, pick_device, warm_up_then_linear

    recipe = recipe or Recipe()
    context, rows_a_step = settings.max_tokens or recipe.context, settings.batch_size or recipe.batch_rows
    row_tokens = min(recipe.row_tokens, context)

    # Tokenizer and corpus, as one long row of ids.
    with progress.bar("Learn a tokenizer") as bar:
        vocabulary = train_tokenizer(itertools.chain(texts(), _prompt_words()), recipe.vocab_size, out)
        bar.note(f"{vocabulary:,} tokens")
    corpus, characters = _corpus(texts, out)
    if len(corpus) < row_tokens:
        raise ModelError(f"{len(corpus)} tokens of text are too few to pretrain on; {row_tokens} make one row")

    # The model and its optimizer.
    device = pick_device()
    torch.manual_seed(settings.seed)
    model = _build(recipe, vocabulary, context).to(device)
    speed = settings.learning_rate or recipe.learning_rate
    optimizers = muon_and_adamw(model, speed)

    # The loop. Rows of a step depend on its number alone, so a resumed run sees what the whole one would have seen.
    tokens_a_step = rows_a_step * row_tokens
    tokens_seen = settings.epochs * len(corpus) if settings.epochs else recipe.tokens_seen
    steps = max(1, tokens_seen // tokens_a_step)
    checkpoint = Checkpoint(scratch)
    done = checkpoint.load(model, optimizers) or {"step": 0, "losses": []}
    losses: list[float] = done["losses"]
    model.train()
    with progress.bar("Pretrain", total=steps * tokens_a_step, unit="tokens") as bar:
        bar.advance(done["step"] * tokens_a_step)
        for step in range(done["step"], steps):
            rng = random.Random(f"{settings.seed}/{step}")
            rows = [_row(corpus, row_tokens, rng) for _ in range(rows_a_step)]
            ids = torch.tensor(rows, device=device)  # (B, T)
            with autocast(device):
                logits = model(input_ids=ids).logits  # (B, T, V)
            # The token at position t is predicted from those up to t - 1.
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizers.step(warm_up_then_linear(step, steps))
            losses.append(round(loss.item(), 4))
            bar.advance(tokens_a_step)
            bar.note(f"loss {loss.item():.2f}")
            if (step + 1) % max(1, steps // CHECKPOINTS) == 0:
                checkpoint.save(model, optimizers, {"step": step + 1, "losses": losses})

    with quiet():
        model.save_pretrained(out)
    return {
        "parameters": model.num_parameters(),
        "vocabulary": vocabulary,
        "corpus_tokens": len(corpus),
        "corpus_characters": characters,
        "tokens_seen": steps * tokens_a_step,
        "context": context,
        "first_loss": losses[0],
        "last_loss": round(sum(losses[-10:]) / len(losses[-10:]), 4),
    }


def _build(recipe: Recipe, vocabulary: int, context: int) -> PreTrainedModel:
    transformers = load_transformers()
    config = transformers.Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        head_dim=recipe.width // recipe.heads,
        intermediate_size=3 * recipe.width,
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


def _corpus(texts: Callable[[], Iterator[str]], folder: Path) -> tuple[list[int], int]:
    """All texts as one list of ids with <|endoftext|> between them, and how many characters they have."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = tokenizer.encode(END_OF_TEXT).ids[0]
    ids: list[int] = []
    characters = 0
    for text in texts():
        ids += [*tokenizer.encode(text).ids, end]
        characters += len(text)
    return ids, characters


def _row(corpus: list[int], length: int, rng: random.Random) -> list[int]:
    """A random stretch of the corpus."""
    start = rng.randrange(len(corpus) - length + 1)
    return corpus[start : start + length]
