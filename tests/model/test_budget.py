from __future__ import annotations

from pathlib import Path

import pytest

from tulou.model.budget import (
    HEAP_GROWTH,
    PROCESS_BYTES,
    TRAINING_BYTES,
    Prices,
    Room,
    Search,
    Trial,
    count_parameters,
    fits,
    money,
    predict,
    static_need,
)

FREE = Room(memory_bytes=8 << 30, disk_bytes=100 << 30, cores=2)
PRICES = Prices("CNY", cpu_core_hour=0.5, gpu_hour=10.0)


def test_time_is_what_came_before_and_the_loop_at_the_speed_seen() -> None:
    trial = Trial(is_finished=False, seconds=20, before_s=8, total=1000, rate=10, peak_bytes=1 << 30)
    made = predict(trial, FREE, PRICES)
    assert made.seconds == pytest.approx(8 + 100)
    assert made.money == pytest.approx(108 / 3600 * 2 * 0.5)
    assert made.refusal is None
    assert predict(Trial(True, 3.0), FREE, PRICES).seconds == 3


def test_training_adds_validation_and_the_copy_of_a_checkpoint() -> None:
    trial = Trial(False, 20, 8, 1000, 10, "rows", 2 << 30, 0, parameters=10_000_000)
    made = predict(trial, FREE, PRICES, {"batch_size": 32})
    assert made.seconds == pytest.approx(8 + 105)
    grown = PROCESS_BYTES + ((2 << 30) - PROCESS_BYTES) * HEAP_GROWTH
    assert made.peak_bytes == pytest.approx(grown + 80_000_000, rel=1e-6)
    assert made.disk_bytes == 240_000_000


def test_a_stage_without_a_known_end_has_no_time() -> None:
    assert predict(Trial(False, 20), FREE, PRICES).seconds is None


def test_without_prices_there_is_no_money_and_a_gpu_has_its_own() -> None:
    assert money(3600, 2, False, Prices("CNY", 0, 0)) is None
    assert money(3600, 2, True, PRICES) == pytest.approx(1.0 + 10.0)


def test_too_large_a_batch_is_refused_with_one_that_fits() -> None:
    parameters = 100_000_000
    peak = PROCESS_BYTES + parameters * TRAINING_BYTES + (16 << 30)  # 16 GiB of activations
    refusal, would = fits(peak, 0, parameters, FREE, {"batch_size": 64})
    assert refusal is not None
    assert "needs 19.4 GB of memory and 8.6 GB are free" in refusal
    batch = next(int(each.split()[2]) for each in would if each.startswith("batch_size"))
    assert 1 <= batch < 64
    assert (16 << 30) * batch / 64 + peak - (16 << 30) <= FREE.memory_bytes, "what is said to fit does"
    assert any(each.startswith("gradient checkpointing") for each in would)
    again = fits(peak, 0, parameters, FREE, {"batch_size": 64, "gradient_checkpointing": True})[1]
    assert not any(each.startswith("gradient checkpointing") for each in again)


def test_too_large_a_model_is_refused_with_lora_or_a_smaller_base() -> None:
    parameters = 1_000_000_000
    need = static_need(parameters, {})
    refusal, would = fits(need, 0, parameters, FREE, {})
    assert refusal is not None
    assert any(each.startswith("LoRA") for each in would)
    assert any("at most 498 million parameters" in each for each in would)
    assert fits(static_need(parameters, {"method": "lora"}), 0, parameters, FREE, {"method": "lora"})[0] is None


def test_a_full_disk_is_said_with_how_much_to_free() -> None:
    refusal, would = fits(1, 200 << 30, 0, FREE, {})
    assert refusal == "it writes 214.7 GB and the disk has 107.4 GB"
    assert would[0] == "free 107.4 GB of disk"


def test_parameters_are_counted_from_headers_alone(bert_folder: Path) -> None:
    from transformers import BertModel

    counted = count_parameters(bert_folder)
    assert counted == BertModel.from_pretrained(bert_folder).num_parameters()
    assert count_parameters(bert_folder.parent / "nothing") == 0


def test_a_search_costs_by_its_candidates_and_by_what_is_trained_again() -> None:
    def of(*methods: str) -> Search:
        return Search.of({"methods": methods, "recovery_epochs": 2}, "classify")

    done, todo = of("int8"), of("int8", "bf16", "int4", "trim+prune@0.5+int8")
    assert (done, todo) == (Search(2), Search(4, shapes=1, epochs=2)), "int4 is not for classifiers"
    assert todo.scaled(60, done, epoch_s=100) == pytest.approx(4 * 30 + 2 * 100)
    assert todo.scaled(500, todo, epoch_s=100) == pytest.approx(500)
    assert done.scaled(320, todo, epoch_s=100) == pytest.approx(60)
    assert 0 < done.scaled(100, todo, epoch_s=100) < 100, "though an epoch was dearer than the whole search"


def test_a_trial_says_why_it_tells_little() -> None:
    assert Trial(False, 20, 0, 1000, 10, steps=3).caution == "few steps seen"
    assert Trial(True, 20, steps=3).caution is None
    assert predict(Trial(True, 20, waiting_share=0.5), FREE, PRICES).caution == "machine was busy"
