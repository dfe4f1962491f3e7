from pathlib import Path

from rich.console import Console

from tulou.cli import screens
from tulou.cli.headlines import headline
from tulou.cli.progress import Terminal
from tulou.core.stage import StageResult


def test_square_brackets_of_users_are_shown_and_not_obeyed(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    console = Console(width=200, record=True, force_terminal=False)
    monkeypatch.setattr(screens, "stdout", console)
    document = {"uri": "data/[old]/a.md", "position": "", "media_type": "text/markdown"}
    screens.show_trace(
        {
            "answer": {"question": "Is [bold] safe[/bold]? [/]", "answer": "Yes [1].", "kind": "quoted"},
            "model": {"name": "assistant", "version": "1"},
            "feedback": {"rating": 1, "comment": "[/red]"},
            "passages": [{"heading": "[a]", "title": "", "document": document, "decisions": []}],
        }
    )
    shown = console.export_text()
    for text in ("Is [bold] safe[/bold]? [/]", "Yes [1].", "[/red]", "[a]", "data/[old]/a.md"):
        assert text in shown


def test_a_file_with_brackets_in_its_name_does_not_stop_the_bars() -> None:
    with Terminal(Console(force_terminal=True, width=200)) as terminal, terminal.bar("collect", 1) as bar:
        bar.note("a[/b].md")
        terminal._bars.refresh()


def test_a_story_shows_brackets_and_hides_control_characters(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    console = Console(width=80, record=True, force_terminal=False)
    monkeypatch.setattr(screens, "stdout", console)
    hostile = "Is [bold]this[/bold] [/]\x1b[31m safe?"
    text = {"text": hostile, "chars": len(hostile), "language": "en"}
    decision = {"step": "markup", "rule": "tags", "action": "changed", "before": hostile, "after": "[/red]"}
    dropped = {"step": "quality", "rule": "repetitive", "action": "dropped", "before": hostile, "after": "[lines]"}
    screens.show_story(
        {
            **dict.fromkeys(("label", "subject_id", "cleaned"), None),
            "id": "d1",
            "source": "s",
            "uri": "data/[old].csv",
            "position": "row=1",
            "media_type": "text/csv",
            "content_hash": "0",
            "modified_at": "2026",
            "collected": text,
            "decisions": [decision, dropped],
            "fate": "dropped",
            "dropped_by": "quality.repetitive",
            "kept_copy": {"id": "d0", "uri": None, "position": None, "text": None},
        }
    )
    shown = console.export_text()
    for expected in ("data/[old].csv", "Is [bold]this[/bold] [/]", "+ [/red]", "([lines])", "dropped by quality"):
        assert expected in shown
    assert "\x1b" not in shown


def test_an_exam_shows_counts_as_counts_and_paths_whole(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    console = Console(width=80, record=True, force_terminal=False)
    monkeypatch.setattr(screens, "stdout", console)
    path = "data/knowledge/shipping-and-delivery/how-long-does-it-take-to-deliver-{}.md"
    miss = {"question": "多久能送到呢", "kind": "quoted", "on_topic": True, "in_top_3": False, "cited_right": False}
    kinds = {"generated": 0, "quoted": 1, "declined": 0}
    counts = {"questions": 1, "in_top_3": 0, "cited_right": 0, "off_topic": 0, "off_topic_declined": 0}
    rows = [{**miss, "expected": [path.format("abroad")], "cited": [path.format("inland")]}]
    metrics = {"size_bytes": 91505715.0, "rows": 275.0, "accuracy": 1.0, "latency_ms_p50": 5.698}
    screens.show_exam({**counts, "kinds": kinds, "rows": rows}, {"intents": metrics})
    shown = console.export_text()
    assert "size_bytes 91.5 MB, rows 275, accuracy 1.0000" in shown
    assert "…" not in shown
    assert "abroad" in "".join(shown.split())
    assert "inland" in "".join(shown.split())


def test_the_line_of_a_compression_names_what_was_left_out() -> None:
    rows = [
        {"precision": "fp32", "size_ratio": 1.0, "speed_ratio": 1.0},
        {"precision": "int8", "size_ratio": 4.0, "speed_ratio": 2.0},
    ]
    missing = [{"precision": "int4", "reason": "int4 is for chat models only"}]
    summary = {"table": rows, "chosen": "int8", "reason": "", "left_out": missing, "not_made": []}
    made = StageResult("compress.intents", "Compress", "f", Path(), summary, 1.0, 1, 0.0)
    assert headline(made) == (
        "int8 4.0x smaller, 2.0x faster, [yellow]left out: int4 (int4 is for chat models only)[/yellow]"
    )
