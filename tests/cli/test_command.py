import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tulou.cli.app import ORDER
from tulou.cli.output import human_bytes, human_seconds
from tulou.cli.service import fields_of

HEAVY = {"torch", "transformers", "openvino", "lancedb", "mlflow", "pyarrow", "numpy", "starlette", "sqlalchemy"}


def tulou(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tulou", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_loads_nothing_heavy() -> None:
    script = f"import sys, tulou.cli; print(sorted({HEAVY!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "verb",
    [
        "init",
        "run",
        "up",
        "serve",
        "status",
        "search",
        "ask",
        "write",
        "evaluate",
        "models",
        "iterate",
        "trace",
        "explain",
        "reveal",
        "bench",
        "keys",
        "usage",
        "logs",
    ],
)
def test_every_promised_verb_is_there_and_explains_itself(verb: str) -> None:
    shown = tulou(verb, "--help")
    assert shown.returncode == 0
    assert "Usage: tulou" in shown.stdout


def test_a_folder_without_a_project_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    shown = tulou("run", "--project", str(tmp_path))
    assert shown.returncode == 2
    assert "tulou init" in shown.stderr
    assert "Traceback" not in shown.stderr + shown.stdout


def test_an_error_in_json_is_an_object_too(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text("[data]\nengin = 1\n")
    shown = tulou("status", "--json", "--project", str(tmp_path))
    assert shown.returncode == 2
    error = json.loads(shown.stdout)["error"]
    assert error["type"] == "SettingsError"
    assert "did you mean 'engine'?" in error["message"]


def test_init_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    shown = tulou("init", str(tmp_path))
    assert shown.returncode == 1
    assert "not empty" in shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_answers_before_the_first_run_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text('[project]\nname = "empty"\n')
    for arguments in (["ask", "hello"], ["search", "hello"], ["serve", "--listen", "127.0.0.1:0"]):
        shown = tulou(*arguments, "--project", str(tmp_path))
        assert shown.returncode == 1, shown.stdout
        assert "tulou run" in shown.stderr


def test_what_would_fail_after_minutes_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text("")
    assert "no [[data.source]]" in tulou("run", "--project", str(tmp_path)).stderr
    source = '[[data.source]]\nname = "k"\nurl = "*.md"\n'
    (tmp_path / "tulou.toml").write_text(source + '[exam]\nquestions = "nowhere.jsonl"\n')
    refused = tulou("run", "--project", str(tmp_path))
    assert refused.returncode == 2
    assert "'nowhere.jsonl'" in refused.stderr


def test_keys_are_made_listed_rotated_limited_and_revoked(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text("")

    def keys(*arguments: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(tulou("keys", *arguments, "--json", "-p", str(tmp_path)).stdout)
        return said

    limits = ("--limit", "requests/minute=60", "--limit", "money/month=20")
    made = keys("create", "shop", "--role", "app", "--expires", "30d", "--model", "encoder", "--priority", "5", *limits)
    assert made["key"].startswith("sk-tulou-")
    assert (made["models"], made["priority"]) == (["encoder"], 5)
    assert made["limits"] == {"money/month": 20, "requests/minute": 60}
    assert made["expires_at"] == pytest.approx(time.time() + 30 * 86_400, abs=60)
    listed = tulou("keys", "list", "--json", "-p", str(tmp_path)).stdout
    assert made["key"] not in listed
    assert json.loads(listed)["keys"][0]["name"] == "shop"
    rotated = keys("rotate", made["id"], "--grace", "2h")
    assert (rotated["id"], rotated["key"] != made["key"]) == (made["id"], True)
    assert rotated["old_until"] == pytest.approx(time.time() + 7200, abs=60)
    limited = keys("limit", made["id"], "tokens/day=1000", "money/month=none", "--all-models", "--disable")
    assert (limited["limits"], limited["models"]) == ({"tokens/day": 1000, "requests/minute": 60}, None)
    assert limited["state"] == "disabled"
    assert keys("limit", made["id"], "--enable", "--expires", "never")["state"] == "valid"
    assert "tokens/day=1000" in tulou("keys", "list", "-p", str(tmp_path)).stdout
    assert keys("revoke", made["id"]) == {"revoked": made["id"]}
    assert keys("list")["keys"][0]["revoked_at"]


def test_a_key_may_be_for_a_model_served_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text("[service.remote.large]\nurl = 'https://models.example.com'\n")
    made = tulou("keys", "create", "x", "--model", "large", "--json", "-p", str(tmp_path))
    assert json.loads(made.stdout)["models"] == ["large"]


def test_keys_that_cannot_be_meant_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text("")
    for arguments, told in (
        (("create", "x", "--role", "king"), "unknown role 'king'"),
        (("create", "x", "--model", "gpt"), "there is no model 'gpt' in this project; choose from encoder"),
        (("create", "x", "--expires", "soon"), "'soon' is no time to expire"),
        (("create", "x", "--limit", "requests/minute"), "is no budget"),
        (("rotate", "key_none"), "no key has the id 'key_none'"),
        (("rotate", "key_none", "--grace", "long"), "'long' is no length of time"),
        (("limit", "key_none", "requests/day=5"), "no key has the id 'key_none'"),
    ):
        shown = tulou("keys", *arguments, "-p", str(tmp_path))
        assert (shown.returncode, told in shown.stderr) == (1, True), shown.stderr
    assert json.loads(tulou("keys", "list", "--json", "-p", str(tmp_path)).stdout) == {"keys": []}


def test_usage_is_told_as_json_csv_and_a_table(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text('[budget]\ncurrency = "EUR"\n')
    at = ("--since", "2026-11-01", "--until", "2026-11-30", "-p", str(tmp_path))
    empty = json.loads(tulou("usage", "--json", *at).stdout)
    assert empty == {"since": "2026-11-01", "until": "2026-11-30", "currency": "EUR", "usage": []}
    with sqlite3.connect(tmp_path / ".tulou" / "state.db") as state:
        state.execute("INSERT INTO usage_by_day VALUES ('2026-11-28', '', 'assistant', 4, 0, 1, 1200, 20, 0.5, 100.0)")
    state.close()
    assert json.loads(tulou("usage", "--json", *at).stdout)["usage"][0]["prompt_tokens"] == 1200
    assert tulou("usage", "--csv", *at).stdout.splitlines()[1] == "2026-11-28,,,assistant,4,0,1,1200,20,0.5,25.0"
    assert "1,200" in tulou("usage", *at).stdout
    assert tulou("usage", "--since", "soon", "-p", str(tmp_path)).returncode == 1


def test_ctrl_c_is_one_sentence_and_exit_code_130(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").touch()
    script = (
        "import os, signal, sys; import tulou.cli; from tulou.ops import logs;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "logs.tail = lambda *_: os.kill(os.getpid(), signal.SIGINT);"
        "sys.argv[1:] = ['logs', '-p', sys.argv[1]]; tulou.cli.main()"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr.strip()) == (130, "stopped; what was finished is kept")


def test_values_for_a_template_are_name_equals_value() -> None:
    assert fields_of(["name=Kettle", "note=a=b"]) == {"name": "Kettle", "note": "a=b"}


def test_sizes_and_times_are_written_for_people() -> None:
    assert [human_bytes(n) for n in (0, 999, 1500, 23_000_000)] == ["0 B", "999 B", "1.5 KB", "23.0 MB"]
    assert [human_seconds(s) for s in (0.04, 59.9, 125)] == ["0.0 s", "59.9 s", "2 min 5 s"]


def test_tokens_are_turned_back_with_the_key_of_their_project(tmp_path: Path) -> None:
    (tmp_path / "tulou.toml").write_text(
        '[[data.source]]\nname = "a"\nurl = "a.txt"\n[data.clean.sensitive]\nphone = "tokenize"\n'
    )
    (tmp_path / "a.txt").write_text("Call me on 13812345678, please.")
    shown = tulou("reveal", "[phone:aaaa]", "--project", str(tmp_path))
    assert (shown.returncode, "has made no tokens" in shown.stderr) == (1, True)
    assert tulou("run", "--until", "store", "--project", str(tmp_path)).returncode == 0
    (part,) = tmp_path.glob(".tulou/stages/clean.a/*/documents-*.parquet")
    text = pq.read_table(part)["text"][0].as_py()
    assert "13812345678" not in text
    shown = tulou("reveal", text, "--project", str(tmp_path), "--json")
    assert json.loads(shown.stdout) == {"text": "Call me on 13812345678, please."}


def test_what_a_newcomer_wants_is_listed_first() -> None:
    import typer

    from tulou.cli import app

    command = typer.main.get_command(app)
    listed = command.list_commands(None)  # type: ignore[attr-defined]
    assert listed[:6] == ["init", "up", "run", "serve", "ask", "write"]
    assert sorted(listed) == sorted(ORDER), "a new verb gets its place in cli/app.py"
