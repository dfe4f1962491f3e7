from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.model.kills import Killed, KilledAt

from tulou.core.errors import DataError, ModelError
from tulou.core.progress import Silent
from tulou.core.settings import CompressSettings, ModelSettings, PretrainSettings
from tulou.core.tables import CONVERSATION
from tulou.model.causal import IGNORED, encode_conversation, load_causal, load_chat_tokenizer
from tulou.model.compress import compress_chat
from tulou.model.finetune.chat import finetune_chat
from tulou.model.learners import Speaker
from tulou.model.pretrain import BASE_SPEED, SCRATCH_SPEED, make_optimizers, pretrain

TINY = PretrainSettings(vocabulary=400, width=64, layers=2, row_tokens=32, tokens=8 * 32 * 60, compare_tokenizers=())
SCRATCH = ModelSettings(task="chat", base="scratch", max_tokens=256, batch_size=8, pretrain=TINY)
PAIRS = [
    ("多久可以退货？", "三十天内。"),
    ("How long is delivery?", "Two days."),
    ("Open?", "Yes."),
    ("几天送到？", "两天。"),
]


def write_conversations(folder: Path, copies: int = 10) -> Path:
    rows = [
        {
            "id": f"{number}-{copy}",
            "document_id": "d",
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            "language": "zh",
            "split": "validation" if copy == 0 else "train",
        }
        for number, (question, answer) in enumerate(PAIRS)
        for copy in range(copies)
    ]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), folder / "conversations-0.parquet")
    return folder


def test_pretraining_lowers_the_loss_and_leaves_a_loadable_model(texts: list[str], tmp_path: Path) -> None:
    facts = pretrain(lambda: iter(texts * 5), tmp_path / "out", tmp_path, SCRATCH, Silent())
    assert facts["last_loss"] < 0.6 * facts["first_loss"]
    model, tokenizer = load_causal(tmp_path / "out"), load_chat_tokenizer(tmp_path / "out")
    assert model.config.vocab_size == len(tokenizer) == facts["vocabulary"]
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("optimizer", "is_scratch", "chosen"),
    [
        ("auto", True, ["StackedMuon", "AdamW"]),
        ("auto", False, ["AdamW"]),
        ("adamw", True, ["AdamW"]),
        ("muon", False, ["StackedMuon", "AdamW"]),
    ],
)
def test_the_optimizer_may_be_chosen(causal_folder: Path, optimizer: str, is_scratch: bool, chosen: list[str]) -> None:
    settings = ModelSettings(task="chat", base="x", pretrain={"optimizer": optimizer})
    found = make_optimizers(Speaker(load_causal(causal_folder)), settings, is_scratch=is_scratch)
    assert [type(each).__name__ for each in found.each] == chosen
    assert found.learning_rate == (SCRATCH_SPEED if is_scratch else BASE_SPEED)


def test_pretraining_on_next_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tokens of text are too few to pretrain on; 32 make one row"):
        pretrain(lambda: iter(["ab ab"]), tmp_path / "out", tmp_path, SCRATCH, Silent())


def test_a_killed_pretraining_resumes_at_its_step_with_the_same_bits(texts: list[str], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    often = SCRATCH.model_copy(update={"checkpoint_steps": 7})
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    pretrain(lambda: iter(texts * 5), tmp_path / "a", tmp_path / "whole", often, Silent())
    with pytest.raises(Killed):
        pretrain(lambda: iter(texts * 5), tmp_path / "b", tmp_path / "cut", often, KilledAt(33))
    pretrain(lambda: iter(texts * 5), tmp_path / "b", tmp_path / "cut", often, Silent())
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(whole[name].equal(resumed[name]) for name in whole)


@pytest.mark.slow  # compiling takes a while
def test_a_compiled_pretraining_learns_the_same_and_resumes_with_the_same_bits(
    texts: list[str], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    chosen = SCRATCH.model_copy(
        update={"checkpoint_steps": 7, "pretrain": SCRATCH.pretrain.model_copy(update={"compile": "always"})}
    )
    for name in ("plain", "whole", "cut"):
        (tmp_path / name).mkdir()
    plain = pretrain(lambda: iter(texts * 5), tmp_path / "p", tmp_path / "plain", SCRATCH, Silent())
    facts = pretrain(lambda: iter(texts * 5), tmp_path / "a", tmp_path / "whole", chosen, Silent())
    assert facts["validation_loss"] == pytest.approx(plain["validation_loss"], abs=0.05)
    with pytest.raises(Killed):
        pretrain(lambda: iter(texts * 5), tmp_path / "b", tmp_path / "cut", chosen, KilledAt(33))
    pretrain(lambda: iter(texts * 5), tmp_path / "b", tmp_path / "cut", chosen, Silent())
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert set(whole) == set(load_file(tmp_path / "p" / "model.safetensors"))
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_without_a_compiler_pretraining_goes_on_uncompiled(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", (None, str(tmp_path / "no-compiler")))
    monkeypatch.setattr(inductor, "force_disable_caches", True)
    size = SCRATCH.pretrain.model_copy(update={"compile": "always"})
    facts = pretrain(
        lambda: iter(texts * 5), tmp_path / "out", tmp_path, SCRATCH.model_copy(update={"pretrain": size}), Silent()
    )
    assert "the model is not compiled" in caplog.text
    assert facts["last_loss"] < facts["first_loss"]


def test_pretraining_goes_on_from_a_base_with_its_tokenizer(
    causal_folder: Path, texts: list[str], tmp_path: Path
) -> None:
    more = ModelSettings(
        task="chat", base="x", batch_size=8, pretrain={"tokens": 8 * 32 * 30, "row_tokens": 32, "learning_rate": 1e-3}
    )
    facts = pretrain(lambda: iter(texts * 200), tmp_path / "out", tmp_path, more, Silent(), base=causal_folder)
    assert facts["vocabulary"] == len(load_chat_tokenizer(causal_folder))
    assert facts["last_loss"] < 0.7 * facts["first_loss"]
    assert facts["validation_loss"] < facts["first_loss"]
    assert load_chat_tokenizer(tmp_path / "out").get_vocab() == load_chat_tokenizer(causal_folder).get_vocab()
    assert load_causal(tmp_path / "out").config.model_type == load_causal(causal_folder).config.model_type


def test_pretraining_tells_its_tokenizers_fertility_beside_that_of_a_base(
    bert_folder: Path, texts: list[str], tmp_path: Path
) -> None:
    facts = pretrain(
        lambda: iter(texts * 5), tmp_path / "out", tmp_path, SCRATCH, Silent(), compared={"bert": bert_folder}
    )
    assert facts["fertility"]["own"]["zh"]["unknown_share"] == 0
    assert facts["fertility"]["bert"]["zh"]["unknown_share"] > 0.5
    assert facts["fertility"]["own"]["en"]["tokens_per_word"] < facts["fertility"]["bert"]["en"]["tokens_per_word"]


def test_packed_training_learns_what_unpacked_training_learns(causal_folder: Path, tmp_path: Path) -> None:
    rows = write_conversations(tmp_path / "rows")
    settings = ModelSettings(task="chat", base="x", epochs=3, batch_size=8, learning_rate=3e-3)
    told = []
    for packing in (False, True):
        chosen = settings.model_copy(update={"packing": packing})
        name = "packed" if packing else "plain"
        told.append(finetune_chat(rows, causal_folder, tmp_path / name, tmp_path / f"{name}.s", chosen, Silent()))
    assert [facts["packing"] for facts in told] == ["length buckets", "packed rows"]
    assert told[0]["validation_loss"] == pytest.approx(told[1]["validation_loss"], abs=0.1)


def test_every_answer_of_a_conversation_is_learnt(tokenizer_folder: Path) -> None:
    tokenizer = load_chat_tokenizer(tokenizer_folder)
    said = [("user", "退货"), ("assistant", "可以"), ("user", "Open?"), ("assistant", "Yes.")]
    turn = encode_conversation(tokenizer, [{"role": role, "content": content} for role, content in said], "c1")
    assert tokenizer.decode([token for token in turn.targets if token != IGNORED]) == (
        "可以<|im_end|>\nYes.<|im_end|>\n"
    )
    assert turn.name == "c1"


def test_the_loss_falls_on_the_assistants_words_only(tokenizer_folder: Path) -> None:
    tokenizer = load_chat_tokenizer(tokenizer_folder)
    turn = encode_conversation(
        tokenizer,
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "退货"},
            {"role": "assistant", "content": "三十天内"},
        ],
    )
    learnt = [token for token in turn.targets if token != IGNORED]
    assert tokenizer.decode(learnt) == "三十天内<|im_end|>\n"
    assert len(turn.ids) == len(turn.targets)
    assert tokenizer.decode(turn.ids).startswith("<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n退货")


def test_a_chat_model_learns_its_answers_and_keeps_them_when_served(causal_folder: Path, tmp_path: Path) -> None:
    rows = write_conversations(tmp_path / "rows")
    settings = ModelSettings(task="chat", base="x", epochs=12, batch_size=8, learning_rate=3e-3)
    facts = finetune_chat(rows, causal_folder, tmp_path / "out", tmp_path, settings, Silent())
    assert facts["conversations"] == {"train": 36, "validation": 4}
    assert facts["history"][-1]["validation_loss"] < 0.3
    made = compress_chat(
        tmp_path / "out", rows, tmp_path / "made", tmp_path / "scratch",
        CompressSettings(methods=("int8", "int4", "prune+int8"), max_accuracy_loss=0.05),
        name="assistant", base="x", fingerprint="f", progress=Silent(),
    )  # fmt: skip
    assert [row["precision"] for row in made["table"]] == ["fp32", "int8", "int4@64"]
    assert [each["precision"] for each in made["left_out"]] == ["prune+int8"]
    sizes = [row["size_bytes"] for row in made["table"]]
    assert sizes == sorted(sizes, reverse=True)
    assert made["table"][0]["token_accuracy"] > 0.9
    assert made["table"][0]["perplexity"] == pytest.approx(2.718 ** facts["validation_loss"], rel=0.05)
    assert made["table"][0]["token_accuracy"] - made["table"][1]["token_accuracy"] <= 0.05
    assert made["chosen"] in made["front"]
    assert (tmp_path / "made" / str(made["chosen"]) / "openvino_tokenizer.xml").is_file()


def test_a_base_without_template_learns_chatml(causal_folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "mute"
    shutil.copytree(causal_folder, base, ignore=shutil.ignore_patterns("chat_template.jinja"))
    rows = write_conversations(tmp_path / "rows", copies=2)
    settings = ModelSettings(task="chat", base="x", epochs=1)
    finetune_chat(rows, base, tmp_path / "out", tmp_path, settings, Silent())
    assert "<|im_start|>" in load_chat_tokenizer(tmp_path / "out").chat_template


def test_conversations_beyond_the_context_leave_nothing_to_learn(causal_folder: Path, tmp_path: Path) -> None:
    rows = write_conversations(tmp_path / "rows", copies=2)
    settings = ModelSettings(task="chat", base="x", max_tokens=4)
    with pytest.raises(DataError, match="none of 8 conversations fits into 4 tokens"):
        finetune_chat(rows, causal_folder, tmp_path / "out", tmp_path, settings, Silent())
