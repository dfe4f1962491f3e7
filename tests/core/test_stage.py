import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from tulou.core import stage as stage_module
from tulou.core.errors import BusyError, DiskFullError, TulouError
from tulou.core.progress import Silent
from tulou.core.stage import RUNNING, Pipeline, Stage, StageContext, StageResult, exclusive_run, read_json, write_json


class Recorder:
    def __init__(self) -> None:
        self.ran: list[str] = []
        self.skipped: list[str] = []

    def started(self, stage: Stage, index: int, total: int) -> None:
        self.ran.append(stage.name)

    def finished(self, result: StageResult, index: int, total: int) -> None:
        if result.is_cached:
            self.skipped.append(result.name)


def write(text: str):  # type: ignore[no-untyped-def]
    def run(context: StageContext) -> dict[str, object]:
        upstream = "".join((path / "out.txt").read_text() for path in context.inputs.values())
        (context.out / "out.txt").write_text(upstream + text)
        return {"text": upstream + text}

    return run


def run(root: Path, stages: list[Stage], until: str | None = None) -> tuple[Recorder, list[StageResult]]:
    recorder = Recorder()
    return recorder, Pipeline(stages, root).run(Silent(), recorder, until)


def shop(a: str = "a", b: str = "b") -> list[Stage]:
    return [
        Stage("first", write(a), settings=a),
        Stage("aside", write("x")),
        Stage("second", write(b), inputs=("first",), settings=b),
    ]


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    run(tmp_path, shop())
    recorder, results = run(tmp_path, shop())
    assert recorder.ran == []
    assert recorder.skipped == ["first", "aside", "second"]
    assert results[2].summary == {"text": "ab"}


def test_a_changed_setting_reruns_only_what_depends_on_it(tmp_path: Path) -> None:
    run(tmp_path, shop())
    assert run(tmp_path, shop(a="A"))[0].ran == ["first", "second"]
    assert run(tmp_path, shop(a="A", b="B"))[0].ran == ["second"]


def test_changed_raw_input_reruns_the_stage(tmp_path: Path) -> None:
    digest = "one"
    stages = [Stage("collect", write("x"), raw=lambda: digest)]
    run(tmp_path, stages)
    assert run(tmp_path, stages)[0].ran == []
    digest = "two"
    assert run(tmp_path, stages)[0].ran == ["collect"]


def test_going_back_to_the_previous_settings_finds_the_old_output(tmp_path: Path) -> None:
    run(tmp_path, shop(a="a"))
    run(tmp_path, shop(a="A"))
    assert run(tmp_path, shop(a="a"))[0].ran == []


def test_what_a_stage_publishes_follows_when_going_back_to_the_previous_settings(tmp_path: Path) -> None:
    published = tmp_path / "published.txt"

    def publishing(text: str) -> list[Stage]:
        def publish(context: StageContext) -> dict[str, object]:
            published.write_text(text)
            return {}

        return [Stage("index", publish, settings=text, publishes=True)]

    root = tmp_path / "stages"
    for text in ("a", "b", "a"):
        run(root, publishing(text))
        assert published.read_text() == text
    assert run(root, publishing("a"))[0].ran == []


def test_what_a_broken_run_published_is_replaced_when_going_back(tmp_path: Path) -> None:
    published = tmp_path / "published.txt"

    def stages(text: str, breaks: bool = False) -> list[Stage]:
        def publish(context: StageContext) -> dict[str, object]:
            published.write_text(text)
            return {}

        def fail(context: StageContext) -> dict[str, object]:
            raise ValueError("broken")

        last = Stage("exam", fail if breaks else write("x"), settings=text)
        return [Stage("index", publish, settings=text, publishes=True), last]

    root = tmp_path / "stages"
    run(root, stages("a"))
    with pytest.raises(ValueError, match="broken"):
        run(root, stages("b", breaks=True))
    run(root, stages("a"))
    assert published.read_text() == "a"
    assert run(root, stages("a"))[0].ran == []


def test_what_was_published_before_a_break_is_not_published_again(tmp_path: Path) -> None:
    def fail(context: StageContext) -> dict[str, object]:
        raise ValueError("broken")

    index = Stage("index", write("i"), publishes=True)
    with pytest.raises(ValueError, match="broken"):
        run(tmp_path, [index, Stage("exam", fail)])
    assert run(tmp_path, [index, Stage("exam", write("x"))])[0].ran == ["exam"]


def test_nothing_is_forgotten_while_another_run_is_at_work(tmp_path: Path) -> None:
    with exclusive_run(tmp_path), pytest.raises(BusyError):
        Pipeline(shop(), tmp_path).forget(["aside"])


def test_a_forgotten_stage_runs_again(tmp_path: Path) -> None:
    run(tmp_path, shop())
    Pipeline(shop(), tmp_path).forget(["aside"])
    assert run(tmp_path, shop())[0].ran == ["aside"]


def test_outputs_that_no_recent_run_uses_are_pruned(tmp_path: Path) -> None:
    for text in "abc":
        run(tmp_path, shop(a=text))
    assert len(list((tmp_path / "first").iterdir())) == 2


def test_until_runs_a_stage_with_all_it_needs_and_no_more(tmp_path: Path) -> None:
    assert run(tmp_path, shop(), until="second")[0].ran == ["first", "second"]
    with pytest.raises(TulouError, match="unknown stage 'nope'; choose from first, aside, second"):
        run(tmp_path, shop(), until="nope")


def test_a_stage_that_fails_leaves_no_output_and_the_finished_ones_stay(tmp_path: Path) -> None:
    def fail(context: StageContext) -> dict[str, object]:
        (context.out / "half.txt").write_text("half")
        raise ValueError("broken")

    stages = [Stage("first", write("a")), Stage("second", fail, inputs=("first",))]
    with pytest.raises(ValueError, match="broken"):
        run(tmp_path, stages)
    assert Pipeline(stages, tmp_path).latest() == {}
    mended = [stages[0], Stage("second", write("b"), inputs=("first",))]
    recorder, results = run(tmp_path, mended)
    assert (recorder.skipped, recorder.ran) == (["first"], ["second"])
    assert not (results[1].path / "half.txt").exists()


def _killed_in_second_stage(root: Path) -> None:
    def checkpoint_and_die(context: StageContext) -> dict[str, object]:
        (context.scratch / "checkpoint").write_text("step 7")
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    Pipeline([Stage("first", write("a")), Stage("train", checkpoint_and_die)], root).run(Silent(), Recorder())


def test_a_killed_run_resumes_at_its_stage_with_its_checkpoint(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_killed_in_second_stage, args=(tmp_path,))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL

    found = []

    def resume(context: StageContext) -> dict[str, object]:
        found.append((context.scratch / "checkpoint").read_text())
        return {}

    recorder, results = run(tmp_path, [Stage("first", write("a")), Stage("train", resume)])
    assert (recorder.skipped, recorder.ran, found) == (["first"], ["train"], ["step 7"])
    assert not list(results[1].path.parent.glob("*.scratch"))


def _hold(root: Path) -> None:
    with exclusive_run(root):
        time.sleep(30)


def test_two_runs_at_once_are_refused_naming_the_process(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path,))
    child.start()
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not (tmp_path / "run.lock").exists():
            time.sleep(0.01)
        while not (tmp_path / "run.lock").read_text():
            time.sleep(0.01)
        with pytest.raises(BusyError, match=f"process {child.pid}"):
            run(tmp_path, shop())
    finally:
        child.kill()
        child.join(10)
    assert run(tmp_path, shop())[0].ran == ["first", "aside", "second"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("lance error: IO: No space left on device (os error 28)"),
        RuntimeError("basic_ios::clear: iostream error"),
    ],
)
def test_a_full_disk_is_one_clear_sentence(tmp_path: Path, error: Exception) -> None:
    def fill(context: StageContext) -> dict[str, object]:
        raise error

    with pytest.raises(DiskFullError, match="finished stages are kept"):
        run(tmp_path, [Stage("collect", fill)])


def test_a_json_file_that_finds_no_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_from: Path, _to: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fill)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "latest.json", {})
    assert list(tmp_path.iterdir()) == []


def test_the_source_code_of_a_stage_is_part_of_its_fingerprint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stages = [Stage("clean", write("a"), code=("tulou.core.errors",))]
    run(tmp_path, stages)
    assert run(tmp_path, stages)[0].ran == []
    monkeypatch.setattr(stage_module, "code_digest", lambda module: "another version")
    assert run(tmp_path, stages)[0].ran == ["clean"]


def test_a_package_is_its_sources_and_word_lists_by_where_they_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)

    def digest() -> str:
        stage_module.code_digest.cache_clear()
        return stage_module.code_digest("shelf")

    for name in ("__init__.py", "left/same.py", "right/other.py", "words.toml"):
        (tmp_path / "shelf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shelf" / name).touch()
    seen = [digest()]
    (tmp_path / "shelf" / "words.toml").write_text("word = 1")
    seen.append(digest())
    (tmp_path / "shelf" / "left" / "same.py").rename(tmp_path / "shelf" / "right" / "same.py")
    seen.append(digest())
    assert len(set(seen)) == 3


def test_a_run_tells_what_it_is_at_while_it_is_at_work(tmp_path: Path) -> None:
    told = []

    def look(context: StageContext) -> dict[str, object]:
        told.append(read_json(tmp_path / RUNNING))
        return {}

    run(tmp_path, [Stage("first", look, title="Look"), Stage("second", look)])
    assert [(each["stage"], each["index"], each["total"]) for each in told] == [("first", 1, 2), ("second", 2, 2)]
    assert told[0]["pid"] == os.getpid()
    assert told[0]["title"] == "Look"
    assert told[1]["started_at"] == told[0]["started_at"] <= told[0]["stage_started_at"]
    assert not (tmp_path / RUNNING).exists()

    def fail(context: StageContext) -> dict[str, object]:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run(tmp_path, [Stage("third", fail)])
    assert not (tmp_path / RUNNING).exists()
