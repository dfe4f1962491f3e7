"""Load from wrk: the same POST over kept-alive connections, as fast as they are answered."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tulou.bench.gateway.processes import LOAD_CORE, Server
from tulou.core.errors import TulouError

MODEL = "echo"
# About 1 KB, as a short conversation is.
BODY = json.dumps(
    {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You answer customers of a small shop in one or two friendly sentences."},
            {"role": "user", "content": "When will my kettle arrive, and may I return it if it is faulty? " * 12},
        ],
        "max_tokens": 128,
        "temperature": 0.2,
    }
).encode()

_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "us": %d, "refused": %d, "broken": %d, "p50_us": %d, "p99_us": %d}\\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Pace:
    """How a server took the load of some connections."""

    connections: int
    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failures: int  # other statuses than 2xx and 3xx, and connections that broke
    cpu_us: float  # of the server's processor, a request


def tool(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise TulouError(f"`tulou bench gateway` needs {name}; install it with: apt-get install {name}")
    return path


def drive(server: Server, connections: int, seconds: float, folder: Path, cores: Sequence[int] = (LOAD_CORE,)) -> Pace:
    """Load for `seconds`, at least one, from one thread on `cores`."""
    script = folder / "load.lua"
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.program.key}"}
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{BODY.decode()}]==]"]
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    script.write_text("\n".join(lines) + _DONE)
    command = [
        "taskset",
        "-c",
        ",".join(map(str, cores)),
        tool("wrk"),
        "-t1",
        f"-c{connections}",
        f"-d{max(round(seconds), 1)}s",
    ]
    before_s = server.cpu_s()
    done = subprocess.run(
        [*command, "-s", str(script), server.program.url + "/v1/chat/completions"],
        capture_output=True,
        text=True,
        check=False,
    )
    spent_s = server.cpu_s() - before_s
    if done.returncode:
        raise TulouError(f"wrk failed: {(done.stderr or done.stdout).strip()[-400:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    requests = max(said["requests"], 1)
    return Pace(
        connections,
        said["requests"],
        said["requests"] / (said["us"] / 1e6),
        said["p50_us"] / 1000,
        said["p99_us"] / 1000,
        said["refused"] + said["broken"],
        spent_s / requests * 1e6,
    )
