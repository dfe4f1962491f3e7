"""Pruning, trimming, distilling, and the recovery behind them, on a classifier that has learnt something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.model.classifier import labelled_rows

from tulou.core.compression import parse
from tulou.core.errors import ModelError
from tulou.core.progress import SilentBar
from tulou.core.tables import LABELLED
from tulou.model.compress.encoder import export_encoder, read_labels
from tulou.model.compress.shape import Lessons, labelled_batches, read_tokenizer, shape_classifier
from tulou.model.rows import read_rows
from tulou.model.served import ServedEncoder


def lessons() -> Lessons:
    rows = labelled_rows()
    return Lessons(*([row for row in rows if row["split"] == split] for split in ("train", "validation")))


def accuracy(folder: Path, rows: Any) -> float:
    from tulou.model.compress.recover import accuracy_on, read_lessons
    from tulou.model.encoder import load_encoder

    return accuracy_on(load_encoder(folder), read_lessons(read_tokenizer(folder), list(rows), read_labels(folder)))


def shaped(method: str, trained: Path, out: Path, scratch: Path, epochs: int = 4) -> dict[str, Any]:
    steps = [type(step)(step.name, step.amount or 0.5) for step in parse(method)]
    return shape_classifier(trained, steps, lessons(), out, scratch, epochs, SilentBar())


@pytest.mark.parametrize("method", ["prune@0.5", "trim@0.9", "distill@0.5", "trim@0.9+distill@0.5+prune@0.5"])
def test_a_shaped_classifier_is_smaller_still_right_and_exports_as_it_is(
    method: str, classifier_folder: Path, labelled_folder: Path, tmp_path: Path
) -> None:
    import torch

    from tulou.model.encoder import load_encoder

    made = shaped(method, classifier_folder, tmp_path / "shaped", tmp_path / "scratch", epochs=6)
    whole = sum(p.numel() for p in load_encoder(classifier_folder).parameters())
    student = load_encoder(tmp_path / "shaped")
    assert made["parameters"] == sum(p.numel() for p in student.parameters()) < whole
    test = [row for row in read_rows(labelled_folder, LABELLED) if row["split"] == "test"]
    assert accuracy(tmp_path / "shaped", test) > 0.8

    export_encoder(tmp_path / "shaped", tmp_path / "fp32")
    served = ServedEncoder(tmp_path / "fp32", threads=1)
    ids = read_tokenizer(tmp_path / "shaped").encode("where is my parcel?").ids
    with torch.no_grad():
        expected = student(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))[0].numpy()
    np.testing.assert_allclose(served("where is my parcel?"), expected, atol=1e-4)


def test_the_head_that_is_worth_nothing_goes_first(classifier_folder: Path) -> None:
    import torch

    from tulou.model.compress.prune import importance, prune
    from tulou.model.encoder import load_encoder
    from tulou.model.narrowed import blocks_of

    model = load_encoder(classifier_folder)
    block = blocks_of(model.body)[0]
    with torch.no_grad():
        block.linear(block.layout.attention_out).weight[:, :16] = 0  # head 0
        block.linear(block.layout.feed_out).weight[:, 32:] = 0
    batches = labelled_batches(read_tokenizer(classifier_folder), lessons().train, read_labels(classifier_folder))
    heads, neurons = importance(model, batches)
    assert heads[0][0] == 0 < heads[0][1]
    assert neurons[0][32:].max() == 0 < neurons[0][:32].min()
    assert all(parameter.requires_grad for parameter in model.parameters()), "importance leaves the model as it was"
    kept = block.linear(block.layout.query).weight[16:].detach().clone()
    prune(model, 0.75, batches)
    assert [each.heads for each in blocks_of(model.body)] == [1, 2]
    torch.testing.assert_close(blocks_of(model.body)[0].linear(block.layout.query).weight.detach(), kept)


def test_heads_are_ranked_across_blocks_and_none_loses_its_last() -> None:
    import torch

    from tulou.model.compress.prune import heads_to_keep, neurons_to_keep

    scores = [torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([0.0, 0.5, 0.0, 0.0])]
    assert heads_to_keep(scores, 0.5) == [[0, 1, 2], [1]]
    assert heads_to_keep(scores, 0.01) == [[0], [1]]
    assert neurons_to_keep(torch.arange(128.0), 0.4) == list(range(64, 128)), "in whole lanes"
    assert neurons_to_keep(torch.arange(8.0), 0.1) == list(range(8))


def test_a_trimmed_vocabulary_knows_every_character_and_the_words_in_use(classifier_folder: Path) -> None:
    import torch

    from tulou.model.compress.trim import trim
    from tulou.model.encoder import load_encoder

    model, before = load_encoder(classifier_folder), read_tokenizer(classifier_folder)
    text = "track my parcel"
    ids = before.encode(text).ids
    with torch.no_grad():
        expected = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))
        after = trim(model, before, 0.1, [text])
        again = after.encode(text)
        logits = model(torch.tensor([again.ids]), torch.ones(1, len(again.ids), dtype=torch.int64))
    assert after.get_vocab_size() < before.get_vocab_size()
    assert again.tokens == before.encode(text).tokens
    torch.testing.assert_close(logits, expected)
    assert "[UNK]" not in after.encode("zebra quiz").tokens
    assert max(again.ids) < model.body.get_input_embeddings().num_embeddings == after.get_vocab_size()


def test_a_vocabulary_of_pieces_that_depend_on_each_other_is_refused(
    classifier_folder: Path, tokenizer_folder: Path
) -> None:
    from tulou.model.compress.trim import trim
    from tulou.model.encoder import load_encoder

    with pytest.raises(ModelError, match="of type BPE cannot be trimmed"):
        trim(load_encoder(classifier_folder), read_tokenizer(tokenizer_folder), 0.5, ["text"])


@pytest.mark.parametrize(
    ("layers", "share", "kept"), [(12, 0.5, [0, 2, 4, 7, 9, 11]), (6, 0.5, [0, 2, 5]), (2, 0.5, [1])]
)
def test_a_student_keeps_evenly_spaced_layers(layers: int, share: float, kept: list[int]) -> None:
    from tulou.model.compress.distill import layers_to_keep

    assert layers_to_keep(layers, share) == kept


def test_a_killed_recovery_ends_with_the_same_weights(
    classifier_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from tulou.model.compress import recover
    from tulou.model.encoder import load_encoder

    shaped("prune@0.5", classifier_folder, tmp_path / "straight", tmp_path / "a", epochs=3)
    measured = recover.accuracy_on
    calls = 0

    def dies_in_the_second_epoch(*args: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return measured(*args)

    with monkeypatch.context() as kill:
        kill.setattr(recover, "accuracy_on", dies_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            shaped("prune@0.5", classifier_folder, tmp_path / "killed", tmp_path / "b", epochs=3)
    made = shaped("prune@0.5", classifier_folder, tmp_path / "resumed", tmp_path / "b", epochs=3)
    assert len([point for point in made["history"] if "validation" in point]) == 3
    straight, resumed = (load_encoder(tmp_path / name).state_dict() for name in ("straight", "resumed"))
    for key, weight in straight.items():
        assert torch.equal(resumed[key], weight), key


def test_the_teachers_answers_alone_move_a_student_towards_it() -> None:
    import torch

    from tulou.model.compress.recover import schooling_loss

    teacher, pooled, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([0])
    same = schooling_loss(teacher, pooled, teacher, pooled, labels)
    assert same < schooling_loss(torch.tensor([[0.0, 2.0]]), pooled, teacher, pooled, labels)
    assert same < schooling_loss(teacher, -pooled, teacher, pooled, labels)
