"""datatrove on the benchmark corpus: python run_datatrove.py CORPUS OUT WORKERS

Its local executor and its blocks for the same work: repair (ftfy), sensitive data, length and symbols, exact copies
(three steps), near copies (MinHash, 16 buckets of 8, four steps). What it has no block for (HTML, white space, numbers
that identify people) is done as its users do it, by regular expressions in a formatter of their own, without check
digits. Runs in datatrove's own virtual environment. Prints one JSON object; the texts kept are in OUT/kept/*.jsonl.
"""

from __future__ import annotations

import html
import json
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from datatrove.pipeline.formatters.base import BaseFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer

# 16 buckets of 8 are 128 permutations; two documents at 0.8 meet with probability 0.95.
MINHASH = MinhashConfig(n_grams=3, num_buckets=16, hashes_per_bucket=8)
TOKEN = re.compile(r"[A-Za-z0-9]+|[\u4e00-\u9fff]")


TAG, SPACES = re.compile(r"</?[A-Za-z][^<>]*>"), re.compile(r"[ \t\xa0\u3000]+")
NUMBERS = [
    (re.compile(pattern), f"[{kind}]")
    for kind, pattern in (
        ("id_card", r"(?<![0-9A-Za-z])[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx](?![0-9A-Za-z])"),
        ("bank_card", r"(?<![0-9A-Za-z])[3-6][0-9]{3}(?:[ -]?[0-9]{4}){2,3}(?:[ -]?[0-9]{1,4})?(?![0-9A-Za-z])"),
        ("phone", r"(?<![0-9A-Za-z])(?:\+?86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2}(?![0-9A-Za-z])"),
        ("iban", r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?(?![0-9A-Za-z])"),
        ("social_credit", r"(?<![0-9A-Za-z])[1-9ANY][1-9A][0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}(?![0-9A-Za-z])"),
        ("us_ssn", r"(?<![0-9A-Za-z])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![0-9A-Za-z])"),
        ("passport", r"(?<![0-9A-Za-z])[EGDSP][0-9]{8}(?![0-9A-Za-z])"),
        ("license_plate", r"[\u4e00-\u9fff][A-Z][ ·]?[0-9A-Z]{5,6}(?![0-9A-Za-z])"),
    )
]


class Rest(BaseFormatter):
    name = "HTML, white space, numbers"

    def format(self, text: str) -> str:
        if "<" in text:
            text = TAG.sub("", text)
        text = SPACES.sub(" ", html.unescape(text))
        for pattern, mask in NUMBERS:
            text = pattern.sub(mask, text)
        return text


class WordsAndCharacters(WordTokenizer):
    """Words of English, single characters of Chinese: faster and fairer than spaCy, which wants one language a file."""

    def word_tokenize(self, text: str) -> list[str]:
        return TOKEN.findall(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


def content(document: Document) -> str:
    return " ".join(document.text.casefold().split())


EXACT = ExactDedupConfig(content_getter=content)
content.__annotations__["return"] = str  # the library looks for the type, not its name


def is_long_and_wordy(document: Document) -> bool:
    visible = [char for char in document.text if not char.isspace()]
    return len(visible) >= 4 and sum(char.isalnum() for char in visible) >= 0.5 * len(visible)


def kept(_writer: Any, document: Document) -> dict[str, Any]:
    return {"id": document.id, "text": document.text}


def main(corpus: Path, out: Path, workers: int) -> None:
    parts = split(corpus, out / "parts", workers)
    seconds: dict[str, float] = {}

    def step(name: str, pipeline: list[Any], tasks: int = workers) -> None:
        started = time.monotonic()
        LocalPipelineExecutor(
            pipeline=pipeline, tasks=tasks, workers=min(tasks, workers), logging_dir=str(out / "logs" / name)
        ).run()
        seconds[name] = round(time.monotonic() - started, 3)

    clean, unique, exact, near = (str(out / name) for name in ("clean", "unique", "exact", "near"))
    step(
        "normalise, mask, filter",
        [
            JsonlReader(str(parts), doc_progress=False),
            FTFYFormatter(normalization="NFKC"),
            PIIFormatter(only_remove_public_ips=False, email_replacement="[email]", ip_replacement="[ip]"),
            Rest(),
            LambdaFilter(is_long_and_wordy),
            JsonlWriter(clean, compression=None),
        ],
    )
    step("exact signatures", [JsonlReader(clean), ExactDedupSignature(f"{exact}/sigs", EXACT)])
    step("exact find", [ExactFindDedups(f"{exact}/sigs", f"{exact}/dups", EXACT)], 1)
    step(
        "exact filter and near signatures",
        [
            JsonlReader(clean),
            ExactDedupFilter(f"{exact}/dups", EXACT),
            JsonlWriter(unique, compression=None),
            MinhashDedupSignature(f"{near}/sigs", MINHASH, language=WordsAndCharacters()),
        ],
    )
    step("near buckets", [MinhashDedupBuckets(f"{near}/sigs", f"{near}/buckets", config=MINHASH)], MINHASH.num_buckets)
    step("near clusters", [MinhashDedupCluster(f"{near}/buckets", f"{near}/remove", config=MINHASH)], 1)
    step(
        "near filter and write",
        [
            JsonlReader(unique),
            MinhashDedupFilter(f"{near}/remove"),
            JsonlWriter(str(out / "kept"), compression=None, adapter=kept),
        ],
    )
    files = [str(path) for path in sorted((out / "kept").glob("*.jsonl"))]
    print(json.dumps({"version": version("datatrove"), "seconds": seconds, "kept": files}))


def split(corpus: Path, folder: Path, workers: int) -> Path:
    """One file for each task, because a file is the smallest unit that datatrove hands out; not counted as its time."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = corpus.read_bytes().splitlines(keepends=True)
    size = -(-len(lines) // workers)
    for part in range(workers):
        (folder / f"{part:05d}.jsonl").write_bytes(b"".join(lines[part * size : (part + 1) * size]))
    return folder


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
