from pathlib import Path

import pytest

from tulou.core.errors import SettingsError
from tulou.core.settings import load_settings, parse_settings


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"data": {"engin": "local"}}, "unknown key 'data.engin'; did you mean 'engine'?"),
        ({"dat": 1}, "unknown key 'dat'; did you mean 'data'?"),
        ({"model": {"a": {"task": "chat", "bas": "x"}}}, "unknown key 'model.a.bas'; did you mean 'base'?"),
        ({"model": {"a": {"tsk": "chat"}}}, "unknown key 'model.a.tsk'; did you mean 'task'?"),
        ({"model": {"compres": {"methods": ["int8"]}}}, "unknown key 'model.compres'; did you mean 'model.compress'?"),
        ({"model": {"regstry": {}}}, "unknown key 'model.regstry'; did you mean 'model.registry'?"),
        ({"model": {"compres": {"base": "minilm"}}}, "key 'model.compres.task' is missing"),
        ({"model": {"compress": {"x": 1}}}, "unknown key 'model.compress.x'"),
        ({"data": {"source": [{"name": "a", "url": "x", "txt": []}]}}, "unknown key 'data.source[0].txt'"),
        ({"data": {"source": [{"name": "a"}]}}, "key 'data.source[0].url' is missing"),
        ({"data": {"search": "s3://bucket/search"}}, "data.search: choose a folder, elasticsearch:"),
        ({"service": {"listen": "8000"}}, "service.listen: '8000' is not HOST:PORT"),
        ({"service": {"replicas": {"min": 5, "max": 1}}}, "service.replicas: min 5 is above max 1"),
        ({"service": {"balance": "rr"}}, "service.balance: Input should be 'round_robin', 'least_connections'"),
        ({"data": {"clean": {"sensitive": {"phon": "mask"}}}}, "unknown kind of sensitive data 'phon'"),
        ({"model": {"intents": {"task": "classify"}}}, "model.intents: task 'classify' needs source"),
        ({"model": {"intents": {"task": "classify", "source": "t"}}}, "model.intents.source 't' is no [[data.source]]"),
        (
            {"model": {"a": {"task": "chat", "base": "x", "method": "lora", "pretrain": {"optimizer": "muon"}}}},
            "model.a: pretrain.optimizer 'muon' learns whole matrices; with method 'lora' use 'adamw'",
        ),
        ({"model": {"a": {"task": "rerank"}}}, "model.a: task 'rerank' needs base = a cross-encoder"),
        ({"data": {"reranker": "a"}}, "data.reranker 'a' is no model of task 'rerank'; there are: none"),
        ({"data": {"reranker": "encoder"}, "model": {"a": {"task": "rerank", "base": "x"}}}, "there are: a"),
        ({"model": {"a": {"task": "embed", "base": "scratch"}}}, "base 'scratch' is for task 'chat' only"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_the_key(raw: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(raw)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "meant"), [("models", "model.NAME"), ("compress", "model.compress")])
def test_names_from_inside_are_not_taken_from_the_file(key: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown key '{key}'; did you mean '{meant}'"):
        parse_settings({key: {}})


def test_from_nothing_muon_may_be_asked_for_whatever_the_method() -> None:
    model = {"task": "chat", "base": "scratch", "method": "lora", "pretrain": {"optimizer": "muon"}}
    assert parse_settings({"model": {"a": model}}).models["a"].pretrain.optimizer == "muon"


def test_two_sources_with_one_name_are_refused() -> None:
    source = {"name": "a", "url": "*.md"}
    with pytest.raises(SettingsError, match="two sources are called 'a'"):
        parse_settings({"data": {"source": [source, source]}})


def test_a_classifier_may_not_learn_from_a_source_without_labels() -> None:
    with pytest.raises(SettingsError, match="names no label column"):
        parse_settings(
            {
                "data": {"source": [{"name": "t", "url": "t.csv"}]},
                "model": {"intents": {"task": "classify", "source": "t"}},
            }
        )


def test_a_search_encoder_is_there_without_being_asked_for() -> None:
    assert parse_settings({}).encoder == "encoder"
    assert parse_settings({"model": {"mine": {"task": "embed", "base": "folder"}}}).encoder == "mine"


def test_compress_is_a_section_and_not_a_model() -> None:
    settings = parse_settings({"model": {"compress": {"max_accuracy_loss": 0.01}}})
    assert settings.compress.max_accuracy_loss == 0.01
    assert "compress" not in settings.models


def test_sources_with_labels_are_not_quoted_unless_asked() -> None:
    sources = [
        {"name": "knowledge", "url": "*"},
        {"name": "tickets", "url": "*", "label": "intent"},
        {"name": "both", "url": "*", "label": "intent", "index": True},
    ]
    settings = parse_settings({"data": {"source": sources}})
    assert [source.name for source in settings.data.source if source.is_indexed] == ["knowledge", "both"]


def test_listen_is_split_into_host_and_port() -> None:
    service = parse_settings({"service": {"listen": "[::1]:80"}}).service
    assert (service.host, service.port) == ("::1", 80)


def test_a_missing_or_broken_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tulou init"):
        load_settings(tmp_path)
    (tmp_path / "tulou.toml").write_text("[project\n")
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings(tmp_path)
    (tmp_path / "tulou.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path)


def test_settings_that_do_nothing_yet_are_named() -> None:
    settings = parse_settings({"rollout": {"steps": [1.0]}, "service": {"replicas": {"min": 3, "max": 4}}})
    assert settings.without_effect() == []
    assert parse_settings({}).without_effect() == []


def test_a_file_that_a_windows_editor_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_bytes(b'\xef\xbb\xbf[project]\nname = "kettles"\n')
    assert load_settings(tmp_path).project.name == "kettles"


def test_steps_that_do_not_exist_cannot_be_switched_off() -> None:
    assert parse_settings({"data": {"clean": {"off": ["spam", "quality.repetitive"]}}}).data.clean.off
    with pytest.raises(SettingsError, match=r"data\.clean\.off: there is no step or rule 'qualty\.symbols'"):
        parse_settings({"data": {"clean": {"off": ["qualty.symbols"]}}})


@pytest.mark.parametrize("steps", [[], [0.5], [0.0, 1.0], [0.5, 0.25, 1.0], [0.5, 0.5, 1.0], [0.5, 1.5]])
def test_steps_must_rise_to_the_whole(steps: list[float]) -> None:
    with pytest.raises(SettingsError, match="steps must rise from above 0 and end with"):
        parse_settings({"rollout": {"steps": steps}})


@pytest.mark.parametrize(
    ("fallback", "sentence"),
    [
        ({"encoder": "small"}, "service.fallback names 'small', which is no model; there are: chat, encoder"),
        ({"chat": "encoder"}, "'encoder' cannot answer for 'chat'; choose another chat model"),
        ({"chat": "chat"}, "'chat' cannot answer for 'chat'"),
    ],
)
def test_a_fallback_must_be_able_to_answer(fallback: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        parse_settings({"model": {"chat": {"task": "chat"}}, "service": {"fallback": fallback}})


def test_a_server_of_others_may_stand_in_for_a_model_of_ours() -> None:
    remote = {"elsewhere": {"url": "https://models.example.com"}}
    fallback = {"chat": "elsewhere"}
    raw = {"model": {"chat": {"task": "chat"}}, "service": {"remote": remote, "fallback": fallback}}
    assert parse_settings(raw).service.fallback == fallback
