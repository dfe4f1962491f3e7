"""The parent's side of the parsing process: bounds on size, time and memory, and a new process after a crash."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tulou.core.errors import DataError
from tulou.data.collect.files import SourceFile

MAX_FILE_BYTES = 64 << 20
TIMEOUT_S = 120.0
_WAITS = 3  # times so long where the parser got less than half of a processor: the machine is busy, or slept
_PCM_BYTES_PER_S = 40_000  # speech is decoded faster than it is spoken, at 32 kB a second or more
_CODED_BYTES_PER_S = 2_000  # 16 kbit/s, the slowest that speech is commonly stored at
_MEDIA_FACTOR = 16  # an hour of film is larger than any document


class Parser:
    """Parses one file at a time in a process of its own, started when first needed."""

    def __init__(
        self,
        max_file_bytes: int = MAX_FILE_BYTES,
        timeout_s: float = TIMEOUT_S,
        speech_model: Path | None = None,
    ) -> None:
        self.max_file_bytes = max_file_bytes
        self.timeout_s = timeout_s
        self._speech_model = speech_model
        self._process: subprocess.Popen[bytes] | None = None

    def parse(self, file: SourceFile) -> dict[str, Any]:
        """The worker's answer: {"pieces": [...]} or {"sheets": [...]}.

        Raises `DataError` with the reason where the file is too large, cannot be parsed, or takes too long.
        """
        max_bytes = self.max_file_bytes * (_MEDIA_FACTOR if _is_recording(file) else 1)
        if file.size_bytes > max_bytes:
            raise DataError(f"is {file.size_bytes:,} bytes; files of this type are read up to {max_bytes:,}")
        process = self._running()
        assert process.stdin is not None
        request = json.dumps({"path": str(file.path), "media_type": file.media_type})
        try:
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
            answer = self._answer(process, self._timeout_s(file))
        except (TimeoutError, BrokenPipeError) as err:
            late_s = self._timeout_s(file) if isinstance(err, TimeoutError) else None
            raise DataError(self._why_dead(late_s)) from err
        if "error" in answer:
            raise DataError(answer["error"])
        return answer

    def close(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()

    def _timeout_s(self, file: SourceFile) -> float:
        if not _is_recording(file):
            return self.timeout_s
        is_pcm = file.media_type == "audio/wav"
        return self.timeout_s + file.size_bytes / (_PCM_BYTES_PER_S if is_pcm else _CODED_BYTES_PER_S)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tulou.data.collect.worker", *map(str, filter(None, [self._speech_model]))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONUTF8": "1"},
            )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
        assert process.stdout is not None
        deadline, waits, begun_s = time.monotonic() + timeout_s, _WAITS, _cpu_s(process)
        parts: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not (parts and parts[-1].endswith(b"\n")):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not selector.select(left_s):
                    waits -= 1
                    if waits == 0 or _cpu_s(process) - begun_s > timeout_s / 2:
                        raise TimeoutError
                    deadline = time.monotonic() + timeout_s
                    continue
                part = os.read(process.stdout.fileno(), 1 << 20)
                if not part:
                    raise BrokenPipeError
                parts.append(part)
        answer: dict[str, Any] = json.loads(b"".join(parts))
        return answer

    def _why_dead(self, late_s: float | None) -> str:
        """The reason for an answer that never came; the process is gone afterwards."""
        if late_s is not None:
            self.close()
            return f"took longer than {late_s:.0f} s to parse"
        code = self._process.wait() if self._process is not None else 0
        self.close()
        return f"crashed the parser ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Processor time of the parser so far; nothing where it is gone."""
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _is_recording(file: SourceFile) -> bool:
    return file.media_type.startswith(("audio/", "video/"))


@contextmanager
def open_parser(speech_model: Path | None = None) -> Iterator[Parser]:
    parser = Parser(speech_model=speech_model)
    try:
        yield parser
    finally:
        parser.close()
