"""A small business run once through the whole loop; the tests in this folder look at what came of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

KNOWLEDGE = {
    "returns.md": "# Returns\n\nYou may return a kettle within 30 days of delivery.\n\n"
    "## Who pays the postage\n\nThe shop pays the return postage for faulty goods.\n",
    "退货.md": "# 退货政策\n\n签收后三十天内可以退货。\n\n## 运费\n\n质量问题的退货运费由商家承担。\n",
    "delivery.md": "# Delivery\n\nParcels to Berlin take three working days. Delivery costs 5 euros.\n",
    "发票.md": "# 发票\n\n电子发票在发货后二十四小时内开具，发送到下单邮箱。\n",
    "warranty.md": "# Warranty\n\nEvery toaster has a warranty of two years.\n",
}
INTENTS = {
    "refund": ["I want my money back for the {}", "please refund my {}", "退款，{}不要了", "我要退{}的钱"],
    "delivery": ["where is my {}", "when will the {} arrive", "我的{}什么时候到", "{}发货了吗"],
    "invoice": ["I need an invoice for the {}", "send the invoice of my {}", "请给{}开发票", "{}的发票没收到"],
}
THINGS = ["kettle", "toaster", "lamp", "水壶", "台灯", "烤面包机", "rice cooker", "fan", "电风扇", "mug"]
PROJECT = """
[project]
name = "corner-shop"

[[data.source]]
name = "knowledge"
url = "data/knowledge/*"

[[data.source]]
name = "tickets"
url = "data/tickets.csv"
text = ["text"]
label = "intent"

[model.intents]
task = "classify"
source = "tickets"
epochs = 1

[model.assistant]
task = "chat"
base = "scratch"
epochs = 1

[service]
listen = "127.0.0.1:0"
"""


def write_shop(folder: Path) -> Path:
    rng = random.Random(7)
    (folder / "data" / "knowledge").mkdir(parents=True)
    (folder / "exam").mkdir()
    (folder / "tulou.toml").write_text(PROJECT, encoding="utf-8")
    for name, text in KNOWLEDGE.items():
        (folder / "data" / "knowledge" / name).write_text(text, encoding="utf-8")
    rows = [
        f"{template.format(thing)} order {rng.randrange(10**6)},{intent}"
        for intent, templates in INTENTS.items()
        for template in templates
        for thing in THINGS
    ]
    (folder / "data" / "tickets.csv").write_text("text,intent\n" + "\n".join(rows) + "\n", encoding="utf-8")
    questions = [
        {
            "id": "1",
            "language": "en",
            "question": "How long can I return it?",
            "documents": ["data/knowledge/returns.md"],
        },
        {"id": "2", "language": "zh", "question": "发票什么时候开？", "documents": ["data/knowledge/发票.md"]},
    ]
    off_topic = [{"id": "3", "language": "en", "question": "What is the weather on Mars?"}]
    for name, content in (("questions", questions), ("off_topic", off_topic)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        (folder / "exam" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def run_tulou(*arguments: str, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tulou", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


@pytest.fixture(scope="session")
def tulou() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `tulou` with these arguments in a process of its own."""
    return run_tulou


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small business after its first `tulou run`."""
    folder = write_shop(tmp_path_factory.mktemp("business") / "shop")
    ran = run_tulou("run", "--json", "--project", str(folder))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (folder / "first-run.json").write_text(ran.stdout)
    return folder


@pytest.fixture(scope="session")
def first_run(shop: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((shop / "first-run.json").read_text())
    return answer


@pytest.fixture(scope="session")
def service(shop: Path) -> Iterator[dict[str, Any]]:
    """The small business being served by a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tulou", "serve", "--json", "--project", str(shop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        yield {**json.loads(line), "pid": process.pid}
    finally:
        process.terminate()
        process.communicate(timeout=20)
