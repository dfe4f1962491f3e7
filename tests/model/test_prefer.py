from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.model.kills import Killed, KilledAt

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import ModelSettings
from tulou.core.tables import PREFERENCE
from tulou.model.causal import encode_conversation, load_causal, load_chat_tokenizer
from tulou.model.finetune.prefer import BETA, train_preferences
from tulou.model.learners import Chooser
from tulou.model.packing import padded_batch

CHOSEN = ModelSettings(task="chat", base="x", epochs=4, batch_size=4, learning_rate=1e-3)


def write_preferences(path: Path) -> Path:
    rows = [
        {
            "id": f"r{number}", "messages": [{"role": "user", "content": f"How long is delivery {number}?"}],
            "chosen": "Two days.", "rejected": "No idea, ask others.", "language": "en",
            "split": "validation" if number % 4 == 0 else "train",
        }
        for number in range(16)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=PREFERENCE), path)
    return path


def test_what_people_chose_gains_on_what_they_rejected_where_it_was_not_learnt(
    causal_folder: Path, tmp_path: Path
) -> None:
    rows = write_preferences(tmp_path / "preferences-000001.parquet")
    facts = train_preferences(rows, causal_folder, tmp_path / "out", tmp_path / "s", CHOSEN, Silent())
    first = next(point for point in facts["history"] if "validation" in point)
    assert first["validation"] == pytest.approx(math.log(2), abs=1e-4), "before training nothing has gained"
    assert facts["validation_loss"] < 0.6
    assert facts["preferred"] == 1.0
    assert load_chat_tokenizer(tmp_path / "out").chat_template


def test_the_loss_is_the_papers_formula(causal_folder: Path) -> None:
    tokenizer, model = load_chat_tokenizer(causal_folder), load_causal(causal_folder)
    asked = {"role": "user", "content": "Open?"}
    turns = [encode_conversation(tokenizer, [asked, {"role": "assistant", "content": a}]) for a in ("Yes.", "No, no.")]
    by_hand = []
    for turn in turns:
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([turn.ids])).logits[0].log_softmax(dim=-1)
        by_hand.append(sum(float(logs[i - 1, t]) for i, t in enumerate(turn.targets) if t >= 0))
    sides = [padded_batch([turn]).tensors for turn in turns]
    with torch.no_grad():
        loss = Chooser(model, BETA)(
            sides[0]["input_ids"], sides[0]["targets"], sides[1]["input_ids"], sides[1]["targets"],
            torch.tensor([-3.0]), torch.tensor([-5.0]),
        )  # fmt: skip
    margin = BETA * ((by_hand[0] + 3.0) - (by_hand[1] + 5.0))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-margin)), rel=1e-4)


def test_a_killed_training_resumes_with_the_reference_that_it_began_with(causal_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    rows = write_preferences(tmp_path / "preferences-000001.parquet")
    often = CHOSEN.model_copy(update={"checkpoint_steps": 2})
    train_preferences(rows, causal_folder, tmp_path / "a", tmp_path / "whole", often, Silent())
    with pytest.raises(Killed):
        train_preferences(rows, causal_folder, tmp_path / "b", tmp_path / "cut", often, KilledAt(7))
    train_preferences(rows, causal_folder, tmp_path / "b", tmp_path / "cut", often, Silent())
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_preferences_beyond_the_context_leave_nothing_to_learn(causal_folder: Path, tmp_path: Path) -> None:
    rows = write_preferences(tmp_path / "preferences-000001.parquet")
    short = CHOSEN.model_copy(update={"max_tokens": 5})
    with pytest.raises(DataError, match="none of 16 preferences fits into 5 tokens"):
        train_preferences(rows, causal_folder, tmp_path / "out", tmp_path / "s", short, Silent())
