"""Which tokens made a classifier say what it said: integrated gradients (Sundararajan et al. 2017) by Captum.

The gradient of the label's logit is integrated along the straight path from a text of padding to the text itself. The
attributions must add up to the difference between the two logits (completeness); by how much they miss is told, and
the path is walked in smaller steps until it is little. One explanation costs some hundred forward and backward passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra
from tulou.model.libraries import load_torch, quiet
from tulou.model.vocabulary import open_tokenizer

STEPS = (50, 200, 800)  # Captum's default first, then finer
GOOD_ENOUGH = 0.02  # of the logit difference
BATCH = 50
KEPT = ("[CLS]", "[SEP]", "<s>", "</s>")  # stand in the baseline too: they are no words


@dataclass(frozen=True)
class Token:
    text: str  # as it stands in the explained text; empty for marks the tokenizer adds
    start: int
    end: int
    score: float  # positive: speaks for the label


@dataclass(frozen=True)
class Attribution:
    text: str
    label: str
    probability: float
    labels: tuple[tuple[str, float], ...]  # the likeliest ones, with probabilities
    tokens: tuple[Token, ...]
    logit: float
    baseline_logit: float
    completeness_error: float  # sum of the scores less the logit difference
    steps: int

    @property
    def relative_error(self) -> float:
        return abs(self.completeness_error) / max(1e-9, abs(self.logit - self.baseline_logit))


def attribute(trained: Path, text: str, label: str | None = None) -> Attribution:
    """Explain `label` of the classifier in `trained`, by default the likeliest.

    Raises `ModelError` for a folder that holds no classifier, a label it does not know, or a text without tokens.
    """
    torch = load_torch()
    captum = load_extra("captum.attr", "train", "explaining a classifier")
    from tulou.model.encoder import load_encoder

    model = load_encoder(trained)
    if model.head is None:
        raise ModelError(f"{trained} holds no classifier; only what a classifier says can be attributed to tokens")
    names = [model.body.config.id2label[number] for number in sorted(model.body.config.id2label)]
    if label is not None and label not in names:
        raise ModelError(f"the classifier has no label {label!r}; it knows {', '.join(names)}")
    encoding = _encode(trained, text)
    ids = torch.tensor([encoding.ids])  # (1, T)
    baseline = torch.tensor([_baseline(encoding, trained)])  # (1, T)
    mask = torch.ones_like(ids)  # (1, T)
    with torch.inference_mode():
        logits, base = model(ids, mask)[0], model(baseline, mask)[0]  # (C,)
    target = names.index(label) if label else int(logits.argmax())
    gradients = captum.LayerIntegratedGradients(
        lambda given, seen: model(given, seen.expand(len(given), -1)), model.body.get_input_embeddings()
    )
    wanted = float(logits[target] - base[target])
    for steps in STEPS:
        with quiet():
            found = gradients.attribute(
                ids, baseline, target=target, additional_forward_args=(mask,), n_steps=steps, internal_batch_size=BATCH
            )  # (1, T, H)
        scores = found.sum(dim=-1)[0].double()  # (T,)
        error = float(scores.sum()) - wanted
        if abs(error) <= GOOD_ENOUGH * abs(wanted):
            break
    shares = torch.softmax(logits, dim=-1)
    best = shares.topk(min(5, len(names)))
    return Attribution(
        text=text,
        label=names[target],
        probability=float(shares[target]),
        labels=tuple((names[int(i)], float(share)) for share, i in zip(*best, strict=True)),
        tokens=tuple(
            Token(text[start:end], start, end, float(score))
            for (start, end), score in zip(encoding.offsets, scores, strict=True)
        ),
        logit=float(logits[target]),
        baseline_logit=float(base[target]),
        completeness_error=error,
        steps=steps,
    )


def _encode(folder: Path, text: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = open_tokenizer(folder)
    truncation = Tokenizer.from_file(str(folder / "tokenizer.json")).truncation
    tokenizer.enable_truncation(int(truncation["max_length"]) if truncation else 256)
    encoding = tokenizer.encode(text)
    if not any(start < end for start, end in encoding.offsets):
        raise ModelError(f"the text {text[:60]!r} has no tokens to explain")
    return encoding


def _baseline(encoding: Any, folder: Path) -> list[int]:
    """The text's ids with padding in place of each word."""
    tokenizer = open_tokenizer(folder)
    pads = [tokenizer.token_to_id(name) for name in ("[PAD]", "<pad>", "<|endoftext|>")]
    pad = next((number for number in pads if number is not None), 0)
    return [id_ if token in KEPT else pad for id_, token in zip(encoding.ids, encoding.tokens, strict=True)]
