"""The sample business as `tulou init` writes it: whole or not at all, the same every time."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from kreuzberg import extract_file_sync

from tulou.core.errors import DataError, DiskFullError
from tulou.core.progress import Silent
from tulou.core.settings import load_settings
from tulou.templates import TEMPLATES, write_template
from tulou.templates.written import Written

FORMATS = {".md", ".html", ".pdf", ".docx", ".xlsx", ".pptx", ".csv", ".jsonl", ".txt"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates") / "shop"
    write_template("shop", folder, Silent())
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files(folder)}


def test_every_file_reported_is_there_or_says_why_not(tmp_path: Path) -> None:
    written = write_template("shop", tmp_path / "shop", Silent())
    there = {str(path.relative_to(tmp_path / "shop")) for path in files(tmp_path / "shop")}
    assert {one["path"] for one in written if one["skipped"] is None} == there
    assert all(one["skipped"] is None or "install" in one["skipped"] for one in written)


def test_knowledge_comes_in_every_format_and_both_languages(shop: Path) -> None:
    documents = files(shop / "data/knowledge")
    assert len(documents) >= 80
    assert {path.suffix for path in documents} >= FORMATS
    languages = Counter("en" if str(path.relative_to(shop)).isascii() else "zh" for path in documents)
    assert min(languages.values()) >= 40


def test_project_file_is_accepted_and_its_sources_and_exam_exist(shop: Path) -> None:
    settings = load_settings(shop)
    assert [source.name for source in settings.data.source] == ["knowledge", "tickets"]
    assert all(list(shop.glob(source.url)) for source in settings.data.source)
    assert (shop / settings.exam.questions).is_file()
    assert (shop / settings.exam.off_topic).is_file()


def test_writing_twice_gives_the_same_bytes(shop: Path, tmp_path: Path) -> None:
    write_template("shop", tmp_path / "again", Silent())
    assert digests(tmp_path / "again") == digests(shop)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("售后/退货政策.pdf", "签收次日起 15 天内可以无理由退货"),
        ("配送/配送时效与运费.docx", "满 99 元免运费"),
        ("会员/会员等级与积分.pptx", "100 分抵 1 元"),
        ("商品/商品目录.xlsx", "温控电水壶"),
        ("after-sales/warranty.pdf", "Suitcase shell, handle and wheels: 60 months"),
        ("services/trade-in.docx", "vacuum cleaner"),
    ],
)
def test_text_comes_back_out_of_the_binary_formats(shop: Path, name: str, said: str) -> None:
    content = extract_file_sync(str(shop / "data/knowledge" / name)).content
    assert said in " ".join(content.split())


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="is not empty"):
        write_template("shop", tmp_path, Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_a_killed_run_left_behind_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".tulou-init" / "data").mkdir(parents=True)
    write_template("shop", tmp_path, Silent())
    assert (tmp_path / "tulou.toml").is_file()
    assert not (tmp_path / ".tulou-init").exists()


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(folder: Path, _progress: object) -> list[Written]:
        (folder / "half.txt").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(TEMPLATES, "shop", failing)
    with pytest.raises(DiskFullError, match="no space left"):
        write_template("shop", tmp_path / "shop", Silent())
    assert files(tmp_path) == []


def test_an_unknown_template_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown template 'bank'; choose from shop"):
        write_template("bank", tmp_path, Silent())


def test_without_programs_only_notice_and_voicemail_are_left_out(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    skipped = {
        one["path"]: one["skipped"] for one in write_template("shop", tmp_path / "shop", Silent()) if one["skipped"]
    }
    assert {Path(path).suffix for path in skipped} == {".png", ".wav"}
    assert all("apt-get install" in reason for reason in skipped.values())


def test_content_templates_are_copied_in(tmp_path: Path) -> None:
    template = tmp_path / "letter.en.md"
    template.write_text("Dear {{ name }}")
    written = write_template("shop", tmp_path / "shop", Silent(), content=[template])
    assert {"path": "content/letter.en.md", "skipped": None} in written
    assert (tmp_path / "shop/content/letter.en.md").read_text() == "Dear {{ name }}"
