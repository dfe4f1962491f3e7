from __future__ import annotations

from pathlib import Path

import pytest
from tests.apps.bookshop import passage
from tests.apps.fakes import FakeModels

from tulou.apps.content.facts import facts_about
from tulou.apps.content.templates import DEFAULTS, Template, choose, fill, load_templates, read_template
from tulou.apps.content.writer import Writer, Written
from tulou.apps.events import Delta
from tulou.apps.history import recent_turns
from tulou.apps.routes import Applications
from tulou.core.errors import DataError
from tulou.core.types import Hit

GOOD = """+++
title = "Note"
subject = "name"
[[field]]
name = "name"
label = "Name"
required = true
[[field]]
name = "mood"
label = "Mood"
default = "calm"
+++
{{ name }} is {{ mood }}.
"""


def write(folder: Path, text: str, name: str = "note.en.md") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


async def written(writer: Writer, template: str, values: dict[str, str], language: str | None = None) -> Written:
    events = [event async for event in writer.write(template, values, language)]  # type: ignore[arg-type]
    last = events[-1]
    assert isinstance(last, Written)
    assert "".join(event.text for event in events if isinstance(event, Delta)) == last.text
    return last


def test_every_default_template_exists_in_both_languages() -> None:
    templates = load_templates(DEFAULTS)
    names = {name for name, _ in templates}
    assert names >= {"product-description", "customer-letter"}
    assert set(templates) == {(name, language) for name in names for language in ("zh", "en")}


def test_a_project_without_a_folder_has_the_defaults_and_one_with_a_folder_has_its_own(tmp_path: Path) -> None:
    assert load_templates(tmp_path / "content") == load_templates(DEFAULTS)
    write(tmp_path, GOOD)
    assert list(load_templates(tmp_path)) == [("note", "en")]


def test_values_are_completed_by_defaults(tmp_path: Path) -> None:
    template = read_template(write(tmp_path, GOOD))
    values = template.values({"name": " R6 "})
    assert fill(template, template.body, values) == "R6 is calm."


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"needs field 'name' \(Name\)"),
        ({"name": "R6", "colour": "red"}, "has no field 'colour'; it has: name, mood"),
        ({"name": "x" * 501}, "field 'name' has 501 characters"),
    ],
)
def test_wrong_values_are_one_clear_sentence(tmp_path: Path, values: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_template(write(tmp_path, GOOD)).values(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no front", "begins with its settings between two lines of"),
        ("+++\ntitle = \n+++\n", "not valid TOML"),
        (GOOD.replace("subject", "sujet"), "unknown key 'sujet'; known here"),
        (GOOD.replace('subject = "name"', 'subject = "price"'), "subject 'price' is no"),
        (GOOD.replace("label", "labels", 1), "field 'name': unknown key 'labels'"),
        (GOOD.replace("{{ mood }}", "{{ mood "), "the text is not a valid Jinja template"),
    ],
)
def test_a_broken_template_names_its_file_and_fault(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_template(write(tmp_path, text))
    assert "note.en.md" in str(caught.value)


def test_a_template_is_called_by_name_and_language(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"NAME\.zh\.md or NAME\.en\.md"):
        read_template(write(tmp_path, GOOD, "Note.md"))
    with pytest.raises(DataError, match="there is no template 'poem'; there are: customer-letter, product-description"):
        choose(load_templates(DEFAULTS), "poem", "en")
    assert choose(load_templates(DEFAULTS), "customer-letter", "zh").language == "zh"


@pytest.mark.parametrize(
    "attack",
    ["{{ name.__class__.__mro__ }}", "{{ ''.__class__ }}", "{% for x in range(10**9) %}{% endfor %}", "{{ nobody }}"],
)
def test_a_template_cannot_leave_its_sandbox(tmp_path: Path, attack: str) -> None:
    template = read_template(write(tmp_path, GOOD.replace("{{ name }}", attack)))
    with pytest.raises(DataError, match="cannot be filled in"):
        fill(template, template.body, {"name": "R6", "mood": "calm"})


def test_what_people_type_is_never_run_as_a_template(tmp_path: Path) -> None:
    template: Template = read_template(write(tmp_path, GOOD))
    assert fill(template, template.body, {"name": "{{ 7 * 7 }}", "mood": "calm"}) == "{{ 7 * 7 }} is calm."


def test_facts_come_only_from_passages_that_name_the_subject() -> None:
    hits = [Hit(passage(topic, "zh"), 1.0, 0.5, 0.0) for topic in ("reader", "reader-care", "delivery")]
    facts = facts_about("墨屏阅读器 R6", "zh", hits)
    assert [each.id for each in facts.passages] == ["reader.zh", "reader-care.zh"]
    assert ("价格", "899 元") in [(each.name, each.value) for each in facts.properties]
    assert "名称" not in [each.name for each in facts.properties]
    assert "墨屏阅读器 R6 重 160 克，单手就能握住。" in facts.sentences
    assert facts_about("墨屏阅读器 R9", "zh", hits).passages == ()


async def test_a_model_that_rambles_is_replaced_by_the_filled_template(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "This is the best reader in the universe. Buy it now."
    text = await written(apps.writer, "product-description", {"name": "Inkpage reader R6", "closing": "See you soon."})
    assert text.kind == "filled"
    assert "Price: ¥899" in text.text
    assert text.text.endswith("See you soon.")
    assert [source.uri for source in text.sources if source.is_cited] == ["reader.en.md"]


async def test_a_text_that_holds_counts_as_generated(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "墨屏阅读器 R6 重 160 克，单手就能握住。暖光可以调节，夜里看书不刺眼。人人都爱它。"
    text = await written(apps.writer, "product-description", {"name": "墨屏阅读器 R6"})
    assert text.kind == "generated"
    assert text.text == "墨屏阅读器 R6 重 160 克，单手就能握住。暖光可以调节，夜里看书不刺眼。"


async def test_one_good_sentence_is_no_text(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "墨屏阅读器 R6 重 160 克，单手就能握住。它会飞。"
    assert (await written(apps.writer, "product-description", {"name": "墨屏阅读器 R6"})).kind == "filled"


async def test_nothing_is_written_about_what_nobody_knows(apps: Applications, models: FakeModels) -> None:
    text = await written(apps.writer, "product-description", {"name": "Time machine"})
    assert (text.kind, text.sources) == ("declined", ())
    assert "Time machine" in text.text
    assert models.prompts == []


async def test_a_letter_is_filled_in_both_languages(apps: Applications) -> None:
    english = await written(apps.writer, "customer-letter", {"topic": "e-book", "customer": "Ms Wang"}, "en")
    assert english.text.startswith("Dear Ms Wang,")
    assert "E-books, personally signed copies and opened audio discs cannot be returned." in english.text
    chinese = await written(apps.writer, "customer-letter", {"topic": "退货", "customer": "王女士"})
    assert (chinese.language, chinese.kind) == ("zh", "filled")
    assert "尊敬的王女士" in chinese.text


async def test_a_text_is_remembered_with_its_facts(apps: Applications, models: FakeModels) -> None:
    models.is_away = True
    await written(apps.writer, "product-description", {"name": "Inkpage reader R6"})
    turn = recent_turns(apps.state, 1)[0]
    assert (turn.app, turn.kind, turn.question) == ("content", "filled", "Product description: name=Inkpage reader R6")
    assert turn.passages[0]["uri"] == "reader.en.md"
