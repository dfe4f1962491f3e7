from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tulou.model.causal import Turn, encode_conversation, load_causal, load_chat_tokenizer
from tulou.model.learners import Speaker
from tulou.model.packing import keeps_apart, pack, packed_batch, padded_batch


@pytest.fixture
def turns(causal_folder: Path) -> list[Turn]:
    tokenizer = load_chat_tokenizer(causal_folder)
    said = [("多久可以退货？", "三十天内。"), ("Open?", "Yes."), ("How long is delivery?", "Two days."), ("?", "!")]
    return [
        encode_conversation(
            tokenizer, [{"role": "user", "content": q}, {"role": "assistant", "content": a}], name=f"c{number}"
        )
        for number, (q, a) in enumerate(said)
    ]


def test_packed_conversations_have_the_loss_and_the_gradient_of_the_same_unpacked(
    causal_folder: Path, turns: list[Turn]
) -> None:
    found = []
    for batch in (packed_batch(turns), padded_batch(turns)):
        learner = Speaker(load_causal(causal_folder))
        loss = learner(**batch.tensors)
        loss.backward()
        found.append((loss.detach(), learner.model.get_input_embeddings().weight.grad, batch.weight, batch.tokens))
    assert len(packed_batch(turns).names) < len(turns)
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-5)
    assert found[0][2:] == found[1][2:]


def test_rows_without_positions_of_their_own_leak_and_are_found_out(causal_folder: Path, turns: list[Turn]) -> None:
    class Blind(Speaker):
        def forward(
            self, input_ids: torch.Tensor, targets: torch.Tensor, position_ids: torch.Tensor | None = None
        ) -> torch.Tensor:
            return super().forward(input_ids, targets)

    model = load_causal(causal_folder)
    assert keeps_apart(Speaker(model), turns)
    assert not keeps_apart(Blind(model), turns)


def test_rows_hold_every_turn_once_and_are_no_longer_than_two_of_the_longest() -> None:
    turns = [Turn([0] * length, [0] * length, str(length)) for length in (3, 9, 5, 2, 6, 1)]
    rows = pack(turns)
    assert sorted(turn.name for row in rows for turn in row) == ["1", "2", "3", "5", "6", "9"]
    assert [sum(len(turn.ids) for turn in row) for row in rows] == [18, 8]
