"""What the loop calls: modules that return the mean loss of a batch, or, shown no truth, what the model says.

Everything that touches weights goes through `forward`, because that is where DDP and FSDP meet the other workers. It
imports torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tulou.model.causal import IGNORED
from tulou.model.encoder import Encoder

LABEL_SMOOTHING = 0.1  # Szegedy et al. 2016
PIECE = {"cpu": 1 << 19, "cuda": 1 << 25}  # logits at a time: 2 MB stay in a core's cache; a GPU wants many


class Labeller(nn.Module):
    """A classifier: cross entropy with label smoothing, or logits (B, C) where no `labels` are given."""

    def __init__(self, model: Encoder) -> None:
        super().__init__()
        self.model = model
        freeze_unused(model.body)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.model(input_ids, attention_mask)  # (B, C)
        if labels is None:
            return logits
        return nn.functional.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)


class Speaker(nn.Module):
    """A causal language model: mean cross entropy at the targets (B, T) that are not IGNORED.

    `position_ids` that begin anew within a row keep its conversations apart. Logits of other positions are never made.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, targets: Tensor, position_ids: Tensor | None = None) -> Tensor:
        return -self.log_probabilities(input_ids, targets, position_ids).mean()

    def log_probabilities(self, input_ids: Tensor, targets: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Of each target (N,), row after row."""
        places = {} if position_ids is None else {"position_ids": position_ids}
        hidden = self.model.get_decoder()(input_ids=input_ids, use_cache=False, **places).last_hidden_state  # (B, T, H)
        is_target = targets[:, 1:] != IGNORED  # (B, T - 1): position t predicts the token at t + 1
        if is_target.all():  # as in pretraining: picking each of them would cost a fiftieth of the step
            chosen, truth = hidden[:, :-1].flatten(0, 1), targets[:, 1:].flatten()
        else:
            chosen, truth = hidden[:, :-1][is_target], targets[:, 1:][is_target]
        return log_probabilities(self.model.get_output_embeddings()(chosen), truth)  # (N, V), (N,)


def log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """Of each target (N,) under its logits (N, V), in FP32, although no FP32 copy of all logits is ever made."""
    found: Tensor = _LogProbabilities.apply(logits, targets)  # type: ignore[no-untyped-call]
    return found


class _LogProbabilities(torch.autograd.Function):
    """Some rows at a time, which stay in the cache; the softmax is cheaper to compute again than to keep.

    With a large vocabulary, logits in FP32 and their gradient would be most of what training holds.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:  # (N, V), (N,) -> (N,)
        ctx.save_for_backward(logits, targets)
        each = [
            nn.functional.log_softmax(logits[rows], dim=-1, dtype=torch.float32).gather(1, targets[rows, None])
            for rows in _pieces(logits)
        ]
        return torch.cat(each)[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # (N,) -> (N, V)
        logits, targets = ctx.saved_tensors
        to_logits = torch.empty_like(logits)
        for rows in _pieces(logits):
            less = -gradient[rows, None]
            piece = nn.functional.softmax(logits[rows], dim=-1, dtype=torch.float32).mul_(less)
            to_logits[rows] = piece.scatter_add_(1, targets[rows, None], -less)
        return to_logits, None


def _pieces(logits: Tensor) -> list[slice]:
    rows = max(1, PIECE[logits.device.type] // logits.shape[1])
    return [slice(start, start + rows) for start in range(0, max(1, len(logits)), rows)]


class Finder(nn.Module):
    """A search encoder: in-batch contrastive loss of questions and the passages that answer them.

    Each question shall be closer to its own passage than to the others of the batch (van den Oord et al. 2018;
    Karpukhin et al. 2020); a passage that answers it too is no wrong answer and is left out. With one text only: its
    vectors (B, H).
    """

    def __init__(self, model: Encoder, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        freeze_unused(model.body)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        passage_ids: Tensor | None = None,
        passage_mask: Tensor | None = None,
        passage_numbers: Tensor | None = None,
    ) -> Tensor:
        questions: Tensor = self.model(input_ids, attention_mask)  # (B, H)
        if passage_ids is None or passage_mask is None or passage_numbers is None:
            return questions
        passages = self.model(passage_ids, passage_mask)  # (B, H)
        scores = (questions @ passages.T).float() / self.temperature  # (B, B)
        is_same = passage_numbers[:, None] == passage_numbers[None, :]  # (B, B)
        is_same.fill_diagonal_(False)
        scores = scores.masked_fill(is_same, -torch.inf)
        return nn.functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


class Chooser(nn.Module):
    """Direct preference optimisation (Rafailov et al. 2023), as its formula reads.

    `chosen_reference` and `rejected_reference` (B,) are the log-probabilities of the two answers under the model as it
    was before. Returns the mean loss, or with `is_margin` how much more each chosen answer gained (B,).
    """

    def __init__(self, model: Any, beta: float) -> None:
        super().__init__()
        self.speaker = Speaker(model)
        self.beta = beta

    @property
    def model(self) -> Any:
        return self.speaker.model

    def forward(
        self,
        chosen_ids: Tensor,
        chosen_targets: Tensor,
        rejected_ids: Tensor,
        rejected_targets: Tensor,
        chosen_reference: Tensor,
        rejected_reference: Tensor,
        is_margin: bool = False,
    ) -> Tensor:
        chosen = self.answer(chosen_ids, chosen_targets) - chosen_reference  # (B,)
        rejected = self.answer(rejected_ids, rejected_targets) - rejected_reference  # (B,)
        margin = self.beta * (chosen - rejected)  # (B,)
        return margin if is_margin else -nn.functional.logsigmoid(margin).mean()

    def answer(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Log-probability of each row's answer, summed over its tokens: (B, T), (B, T) -> (B,)."""
        each = self.speaker.log_probabilities(ids, targets)  # (N,)
        is_target = targets[:, 1:] != IGNORED  # (B, T - 1)
        row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(is_target)[is_target]  # (N,)
        return torch.zeros(len(ids), device=ids.device).index_add(0, row, each)  # (B,)


def freeze_unused(body: Any) -> None:
    """Freeze BERT's pooler, which our pooling passes by: DDP waits for the gradient of whatever is not frozen."""
    pooler = getattr(body, "pooler", None)
    if isinstance(pooler, nn.Module):
        pooler.requires_grad_(False)
