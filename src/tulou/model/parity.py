"""The parity gate: what is served says what was trained, or it is not registered.

On a probe set the training framework (torch, FP32) and the served folder must see the same token ids and the same
rendered chat template, give the same labels or greedy tokens, and logits within a tolerance. The folder
`fp32` must do all of that; of a compressed one, how often it agrees is reported. The service's own engine is handed in,
so that it is judged too. It costs some dozens of forward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.states import remembered
from tulou.core.types import Encode
from tulou.model.causal import load_causal, load_chat_tokenizer
from tulou.model.evaluate.calibration import softmax
from tulou.model.libraries import load_torch
from tulou.model.served import Scorer, ServedEncoder, Writer, open_scorer, open_writer
from tulou.model.vocabulary import open_tokenizer

Messages = list[dict[str, str]]
Answer = Callable[[Messages, int], str]
"""Messages and a number of tokens to the engine's greedy answer."""

TOLERANCE = 1e-3  # of logits against the largest one: FP32 graphs were within 2e-5 here, one layer off gives 1e-1
GREEDY_TOKENS = 32
EXACT = "fp32"  # the folder that must say what was trained; others are smaller on purpose


@dataclass(frozen=True)
class Verdict:
    """What was compared, and the first thing that differs; None where nothing that must agree does not."""

    figures: dict[str, Any]
    difference: str | None = None


def require_parity(name: str, verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """The figures of `verdicts`. Raises `ModelError` with the first difference, so that nothing is registered."""
    for verdict in verdicts:
        if verdict.difference:
            raise ModelError(
                f"model {name!r} is not registered: the served {verdict.figures['precision']} model differs from the "
                f"trained one: {verdict.difference}"
            )
    return [verdict.figures for verdict in verdicts]


def compare_encoder(
    trained: Path, served: Path, texts: Sequence[str], encode: Encode, tolerance: float = TOLERANCE
) -> Verdict:
    """A classifier or an embedder; `encode` is the service's engine on `served`."""
    torch = load_torch()
    from tulou.model.encoder import load_encoder

    manifest, is_exact = read_manifest(served), served.name == EXACT
    figures: dict[str, Any] = {"precision": served.name, "probes": len(texts), "tolerance": tolerance}
    wanted_ids, got_ids = (_encoder_ids(folder, texts, manifest.max_tokens) for folder in (trained, served))
    same_ids = [want == got for want, got in zip(wanted_ids, got_ids, strict=True)]
    figures["same_token_ids"] = sum(same_ids) / len(same_ids)
    if is_exact and not all(same_ids):
        place = same_ids.index(False)
        shown = _first_difference(wanted_ids[place], got_ids[place])
        return Verdict(figures, f"token ids of {texts[place][:60]!r}: {shown}")
    model = load_encoder(trained)
    with torch.inference_mode():
        rows = [model(torch.tensor([ids]), torch.ones((1, len(ids)), dtype=torch.int64))[0] for ids in wanted_ids]
    wanted = np.stack([row.numpy() for row in rows]).astype(np.float64)  # (N, C or H)
    spoken = np.asarray(encode(list(texts)), np.float64)  # (N, C or H): probabilities, or vectors
    if manifest.engine == "openvino":
        graph = ServedEncoder(served)
        got = np.stack([graph(text) for text in texts]).astype(np.float64)  # (N, C or H)
    else:  # only what the engine says can be seen
        wanted, got = softmax(wanted) if manifest.labels else wanted, spoken
    return _judge_rows(figures, texts, wanted, got, spoken, manifest.labels, is_exact)


def compare_reranker(
    trained: Path,
    served: Path,
    pairs: Sequence[tuple[str, str]],
    encode: Callable[[Sequence[tuple[str, str]]], NDArray[np.float32]],
    tolerance: float = TOLERANCE,
) -> Verdict:
    """A cross-encoder on pairs of a query and a text; `encode` is the service's engine on `served`."""
    torch = load_torch()
    from tulou.model.reranker import load_reranker

    figures: dict[str, Any] = {"precision": served.name, "probes": len(pairs), "tolerance": tolerance}
    model, graph = load_reranker(trained), ServedEncoder(served)
    tokenizer = open_tokenizer(trained)
    tokenizer.enable_truncation(graph.manifest.max_tokens)
    wanted = []
    with torch.inference_mode():
        for read in tokenizer.encode_batch(list(pairs)):
            row = (read.ids, read.attention_mask, read.type_ids)[: len(model.inputs)]
            wanted.append(model(*(torch.tensor([each]) for each in row))[0].numpy())  # (1,)
    logits = np.stack(wanted).astype(np.float64)  # (N, 1)
    got = np.stack([graph(*pair) for pair in pairs]).astype(np.float64)  # (N, 1)
    said = 1 / (1 + np.exp(-got))  # (N, 1)
    apart = [_apart(want, row) for want, row in zip(logits, got, strict=True)]
    heard = np.abs(said - np.asarray(encode(list(pairs)), np.float64)).max(axis=1) < 1e-3  # (N,)
    figures |= {"logit_difference": max(apart), "same_engine": float(heard.mean())}
    worst = int(np.argmax(apart))
    if apart[worst] > tolerance:
        difference = f"logits of {pairs[worst][1][:60]!r} differ by {apart[worst]:.2g}, {tolerance:g} is allowed"
        return Verdict(figures, difference)
    if not heard.all():
        return Verdict(figures, f"the engine's score of {pairs[int(np.argmin(heard))][1][:60]!r} is not the graph's")
    return Verdict(figures)


def compare_chat(
    trained: Path, served: Path, conversations: Sequence[Messages], answer: Answer, tolerance: float = TOLERANCE
) -> Verdict:
    """A chat model; `conversations` end with what is to be answered, `answer` is the service's engine on `served`."""
    counted = ("positions", "same_next_token", "greedy_tokens", "same_greedy", "same_engine", "ties")
    figures: dict[str, Any] = {
        "precision": served.name,
        "probes": len(conversations),
        "tolerance": tolerance,
        "logit_difference": 0.0,
        **dict.fromkeys(counted, 0),
    }
    pair = _ChatPair(load_chat_tokenizer(trained), load_causal(trained), open_writer(served), open_scorer(served))
    for messages in conversations:
        difference = _input_difference(pair, messages) or _output_difference(
            pair, messages, answer, figures, is_exact=served.name == EXACT
        )
        if difference:
            return Verdict(figures, difference)
    return Verdict(figures)


@dataclass(frozen=True)
class _ChatPair:
    """The model as it was trained, and as it is served."""

    tokenizer: Any
    model: Any
    writer: Writer
    scorer: Scorer


def _input_difference(pair: _ChatPair, messages: Messages) -> str | None:
    """How the two read `messages` differently: the rendered template, then the token ids."""
    rendered, served_rendered = _render(pair.tokenizer, messages), pair.writer.render(messages)
    if rendered != served_rendered:
        return f"the chat template renders {_first_difference(rendered, served_rendered)}"
    ids, served_ids = pair.tokenizer(rendered, add_special_tokens=False)["input_ids"], pair.writer.encode(rendered)
    if ids != served_ids:
        return f"token ids of {rendered[-60:]!r}: {_first_difference(ids, served_ids)}"
    return None


def _output_difference(
    pair: _ChatPair, messages: Messages, answer: Answer, figures: dict[str, Any], *, is_exact: bool
) -> str | None:
    """How they answer differently, counted in `figures`; told only where they must not (`is_exact`).

    A token that leads by no more than twice the tolerance is a tie: either may be written, and what follows is another
    text, so the probe is counted and not judged.
    """
    rendered, tolerance = _render(pair.tokenizer, messages), figures["tolerance"]
    ids = pair.tokenizer(rendered, add_special_tokens=False)["input_ids"]
    room = min(GREEDY_TOKENS, pair.scorer.max_tokens - len(ids))
    if room < 1:
        return f"a probe of {len(ids)} tokens does not fit the {pair.scorer.max_tokens} that the model reads"
    wanted, margins, logits = _greedy(pair.model, ids, room)
    served_logits = pair.scorer(ids).astype(np.float64)  # (T, V)
    apart = _apart(logits, served_logits)
    figures["logit_difference"] = max(figures["logit_difference"], apart)
    figures["positions"] += len(ids)
    figures["same_next_token"] += int((logits.argmax(axis=1) == served_logits.argmax(axis=1)).sum())
    got = _without_end(pair.writer.tokens(ids, len(margins)), pair.tokenizer)
    wanted = _without_end(wanted, pair.tokenizer)
    place = _first_place(wanted, got)
    is_tie = place is not None and place < len(margins) and margins[place] <= 2 * tolerance
    text, spoken = pair.tokenizer.decode(got, skip_special_tokens=True).strip(), answer(messages, len(margins)).strip()
    figures["greedy_tokens"] += len(wanted)
    figures["same_greedy"] += place is None
    figures["ties"] += is_tie
    says_same = _readable(text) == _readable(spoken)
    figures["same_engine"] += says_same
    if not is_exact:
        return None
    if apart > tolerance:
        return f"logits of {rendered[-60:]!r} differ by {apart:.2g}, {tolerance:g} is allowed"
    if place is not None and not is_tie:
        return f"greedy tokens after {rendered[-60:]!r}: {_first_difference(wanted, got)}"
    if not says_same and not is_tie:
        return f"the engine's answer: {_first_difference(text, spoken)}"
    return None


def _judge_rows(
    figures: dict[str, Any],
    texts: Sequence[str],
    wanted: NDArray[np.float64],
    got: NDArray[np.float64],
    spoken: NDArray[np.float64],
    labels: Sequence[str],
    is_exact: bool,
) -> Verdict:
    """Logits or vectors (N, C): the graph's in `got`, the engine's output in `spoken`."""
    cosines = (wanted * got).sum(axis=1) / (np.linalg.norm(wanted, axis=1) * np.linalg.norm(got, axis=1))  # (N,)
    apart = [_apart(want, row) for want, row in zip(wanted, got, strict=True)]
    figures |= {"logit_difference": max(apart), "mean_cosine": float(cosines.mean())}
    if labels:
        same = wanted.argmax(axis=1) == got.argmax(axis=1)  # (N,)
        heard = got.argmax(axis=1) == spoken.argmax(axis=1)
        figures |= {"same_labels": float(same.mean()), "same_engine": float(heard.mean())}
    else:
        figures |= {
            "same_engine": float(np.mean([_apart(row, said) < 1e-3 for row, said in zip(got, spoken, strict=True)]))
        }
    if not is_exact:
        return Verdict(figures)
    worst = int(np.argmax(apart))
    if apart[worst] > figures["tolerance"]:
        return Verdict(
            figures,
            f"logits of {texts[worst][:60]!r} differ by {apart[worst]:.2g}, {figures['tolerance']:g} is allowed",
        )
    if labels and not (same & heard).all():
        place = int(np.argmin(same & heard))
        names = [labels[int(rows[place].argmax())] for rows in (wanted, got, spoken)]
        return Verdict(
            figures,
            f"{texts[place][:60]!r} is {names[0]!r} for torch, {names[1]!r} for the graph, {names[2]!r} when served",
        )
    return Verdict(figures)


def _apart(want: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    """The largest difference, against the largest value (at least 1)."""
    return float(np.abs(want - got).max() / max(1.0, np.abs(want).max()))


def _encoder_ids(folder: Path, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    tokenizer = open_tokenizer(folder)
    tokenizer.enable_truncation(max_tokens)
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _render(tokenizer: Any, messages: Messages) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _greedy(model: Any, ids: list[int], count: int) -> tuple[list[int], list[float], NDArray[np.float64]]:
    """The likeliest tokens behind `ids`, how far each leads (against the largest logit), and the prompt's logits."""
    torch = load_torch()
    tokens: list[int] = []
    margins: list[float] = []
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([ids]), use_cache=True)
        prompt_logits = output.logits[0].double().numpy()  # (T, V)
        for _ in range(count):
            last = output.logits[0, -1].double()  # (V,)
            best, places = last.topk(2)
            tokens.append(int(places[0]))
            margins.append(float(best[0] - best[1]) / max(1.0, float(last.abs().max())))
            if tokens[-1] in ends:
                break
            output = model(input_ids=torch.tensor([tokens[-1:]]), use_cache=True, **remembered(output))
    return tokens, margins, prompt_logits


def _without_end(tokens: Sequence[int], tokenizer: Any) -> list[int]:
    return list(tokens[:-1] if tokens and tokens[-1] == tokenizer.eos_token_id else tokens)


def _readable(text: str) -> str:
    """`text` without what is no character: decoders differ in how many marks they put for broken bytes."""
    return text.replace("\ufffd", "").strip()


def _first_place(want: Sequence[Any], got: Sequence[Any]) -> int | None:
    for place, (a, b) in enumerate(zip(want, got, strict=False)):
        if a != b:
            return place
    return None if len(want) == len(got) else min(len(want), len(got))


def _first_difference(want: Sequence[Any], got: Sequence[Any]) -> str:
    """Where two sequences part, with what stands there in each."""
    place = _first_place(want, got)
    if place is None:
        return "the same"
    shown = [repr(each[place : place + 12]) for each in (want, got)]
    return f"at {place} {shown[0]} where training has it, {shown[1]} when served"
