"""Tiny models with random weights, made here so that no test needs a hub or a wheel's model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

TEXTS = [
    "How long may I take to return an order? Thirty days after delivery.",
    "Delivery takes two days. Express delivery takes one day.",
    "多久可以退货？签收后三十天内可以退货。",
    "普通快递两天送到，加急快递一天送到。",
]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers and 32 dimensions whose tokenizer knows English letters and no Chinese."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), ".", ",", "?"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tulou.model.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS * 3, 400, folder)
    return folder


@pytest.fixture(scope="session", params=["qwen3", "llama"])
def causal_folder(
    request: pytest.FixtureRequest, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A decoder of 2 layers; weights are wide, so that the likeliest token leads by more than rounding."""
    import torch
    import transformers

    config_class, model_class = {
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    }[request.param]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(1)
    config = config_class(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, intermediate_size=128, max_position_embeddings=512, initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        tie_word_embeddings=request.param == "qwen3",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp(str(request.param))
    model_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["bert", "xlm-roberta", "bge"])
def encoder_folder(request: pytest.FixtureRequest, bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders of 2 layers: BERT with mean pooling, XLM-R with its own positions, BGE with CLS pooling."""
    import json
    import shutil

    if request.param == "bert":
        return bert_folder
    folder = tmp_path_factory.mktemp(str(request.param))
    if request.param == "bge":
        shutil.copytree(bert_folder, folder, dirs_exist_ok=True)
        (folder / "1_Pooling").mkdir()
        pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        return folder
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    pieces = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *(chr(c) for c in range(33, 127)),
        "▁",
        *"退货款快递发票没收到钱你好您给我",
    ]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", cls_token="<s>", sep_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=66, pad_token_id=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def labelled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.model.classifier import labelled_rows, write_rows

    return write_rows(tmp_path_factory.mktemp("labelled"), labelled_rows())


@pytest.fixture(scope="session")
def classifier_folder(bert_folder: Path, labelled_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT, fine-tuned on `labelled_folder` until it knows what it says."""
    from tulou.core.progress import Silent
    from tulou.core.settings import ModelSettings
    from tulou.model.finetune.classify import train_classifier

    out, scratch = tmp_path_factory.mktemp("classifier"), tmp_path_factory.mktemp("scratch")
    settings = ModelSettings(
        task="classify", base=str(bert_folder), source="x", epochs=8, batch_size=16, learning_rate=3e-3
    )
    summary = train_classifier(labelled_folder, out, scratch, settings, bert_folder, Silent())
    assert summary["validation_accuracy"] > 0.9
    return out
