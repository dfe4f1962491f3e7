from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tulou.core.errors import DataError, MissingExtraError, SettingsError
from tulou.core.settings import CleanSettings
from tulou.data.clean.sensitive import Guard, build_guard
from tulou.data.clean.sensitive.plugins import RemoteRecogniser

Answer = Callable[[dict[str, Any]], Any]


class Service:
    """A recogniser behind HTTP that answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Answer = _find_acme
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append(question)
                answer = service.answer(question)
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(200 if answer else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(BrokenPipeError):  # nobody waited for it
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/find"


def _find_acme(question: dict[str, Any]) -> Any:
    return {
        "findings": [
            [{"start": at, "end": at + 4, "kind": "COMPANY", "score": 0.9}] if (at := text.find("Acme")) >= 0 else []
            for text in question["texts"]
        ]
    }


@pytest.fixture
def service() -> Iterator[Service]:
    running = Service()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def guard(folder: Path, *recognisers: str, **clean: Any) -> Guard:
    return build_guard(CleanSettings(recognisers=recognisers, **clean), b"key", folder)


def test_service_is_asked_and_what_it_finds_is_masked(service: Service, tmp_path: Path) -> None:
    clean = guard(tmp_path, service.url)
    assert clean.rewrite("𠮷 works at Acme, 13812345678") == (
        "𠮷 works at [COMPANY], [phone]",
        ["COMPANY", "PHONE_NUMBER"],
    )
    assert service.asked == [{"texts": ["𠮷 works at Acme, 13812345678"], "language": "en"}]
    assert clean.traits == {"ALWAYS"}
    assert clean.redact("at Acme") == "at [COMPANY]"


def test_kinds_of_a_service_have_actions_like_all_others(service: Service, tmp_path: Path) -> None:
    assert guard(tmp_path, service.url, sensitive={"COMPANY": "keep"}).rewrite("Acme") == ("Acme", [])
    dropping = guard(tmp_path, service.url, sensitive={"COMPANY": "drop"})
    assert dropping.judge({"title": "", "text": "Acme"}) == ("COMPANY", None)


def test_service_is_asked_about_many_texts_at_once_by_language(service: Service, tmp_path: Path) -> None:
    clean = guard(tmp_path, service.url)
    texts = [f"Acme number {number}" for number in range(100)] + ["你好，Acme", ""]
    clean.prepare(texts)
    assert [(len(question["texts"]), question["language"]) for question in service.asked] == [
        (64, "en"),
        (36, "en"),
        (1, "zh"),
    ]
    assert [clean.rewrite(text)[0] for text in texts][-2:] == ["你好，[COMPANY]", ""]
    clean.prepare(texts)
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, "did not answer: HTTP Error 500"),
        (b"<html>", "answered something that is not JSON"),
        ([1], 'must answer an object with "findings"'),
        ({"findings": []}, "with one list for each of 1 texts"),
        ({"findings": [[{"start": 0}]]}, "a finding has start, end, kind and a score"),
        (
            {"findings": [[{"start": 0, "end": 99, "kind": "X"}]]},
            r"found .* in a text of 5 characters",
        ),
        ({"findings": [[{"start": 0, "end": 2, "kind": "a b]"}]]}, "no place in it"),
        ({"findings": [7]}, "with one list for each of 1 texts"),
    ],
)
def test_service_that_answers_badly_stops_the_cleaning(
    service: Service, tmp_path: Path, answer: Any, message: str
) -> None:
    service.answer = lambda _: answer
    with pytest.raises(DataError, match=message):
        guard(tmp_path, service.url).rewrite("hello")


def test_findings_that_the_service_itself_doubts_do_not_count(service: Service, tmp_path: Path) -> None:
    service.answer = lambda _: {"findings": [[{"start": 0, "end": 5, "kind": "X", "score": 0.1}]]}
    assert guard(tmp_path, service.url).rewrite("hello") == ("hello", [])


def test_service_that_is_away_or_silent_is_named_without_its_secrets(service: Service, tmp_path: Path) -> None:
    away = guard(tmp_path, "http://user:hunter2@127.0.0.1:9/find?key=hunter2")
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9/find\S* did not answer") as raised:
        away.rewrite("hello")
    assert "hunter2" not in str(raised.value)
    blocked = threading.Event()
    service.answer = lambda _: blocked.wait(5) and {}
    with pytest.raises(DataError, match="did not answer: timed out"):
        RemoteRecogniser(service.url, timeout_s=0.2)("hello")
    blocked.set()


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with functions to plug in, one of them as an entry point."""
    (tmp_path / "my_recognisers.py").write_text(
        """
def staff(text):
    at = text.find("工号")
    if at >= 0:
        yield at, at + 6, "staff"

def broken(text):
    raise RuntimeError("out of order")

def misplaced(text):
    return [(3, 1, "x")]

number = 7
""",
        "utf-8",
    )
    info = tmp_path / "my_recognisers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-recognisers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tulou.recognisers]\nstaff = my_recognisers:staff\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_recognisers", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["my_recognisers:staff", "staff"])
def test_function_is_plugged_in_by_module_and_by_entry_point(plugin_folder: Path, name: str) -> None:
    assert guard(plugin_folder, name).rewrite("请找工号1234处理") == ("请找[staff]处理", ["staff"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_recognisers:nothing", "cannot load 'my_recognisers:nothing'"),
        ("no_such_module:staff", "cannot load 'no_such_module:staff': No module named"),
        ("my_recognisers:number", "'my_recognisers:number' is no function"),
        ("unheard_of", "'unheard_of' is no URL, no module:function and no entry point in tulou.recognisers"),
        ("presidio:my_recognisers:staff", "is no Presidio EntityRecognizer class"),
    ],
)
def test_recogniser_that_cannot_be_loaded_is_a_setting_to_mend(plugin_folder: Path, name: str, message: str) -> None:
    if name.startswith("presidio:"):
        pytest.importorskip("presidio_analyzer")
    with pytest.raises(SettingsError, match=message):
        guard(plugin_folder, name)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("broken", "recogniser my_recognisers:broken failed: RuntimeError: out of order"),
        ("misplaced", "no place in it"),
    ],
)
def test_recogniser_that_fails_stops_the_cleaning(plugin_folder: Path, function: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        guard(plugin_folder, f"my_recognisers:{function}").rewrite("hello")


def test_presidios_recognisers_work_without_its_language_models(tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer")
    module = "presidio:presidio_analyzer.predefined_recognizers"
    clean = guard(tmp_path, f"{module}:CryptoRecognizer", f"{module}:UrlRecognizer")
    text, rules = clean.rewrite(
        "pay 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ, see https://tulou.example.com/pay or 13812345678"
    )
    assert text == "pay [CRYPTO], see [URL] or [phone]"
    assert rules == ["CRYPTO", "PHONE_NUMBER", "URL"]
    with pytest.raises(SettingsError, match="cannot be made without arguments"):
        guard(tmp_path, "presidio:presidio_analyzer:PatternRecognizer")


def test_missing_presidio_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tulou\[presidio\]'"):
        guard(tmp_path, "presidio:presidio_analyzer.predefined_recognizers:IpRecognizer")
