"""How a replica comes up: one of our own processes, somebody else's server from a command, or one found at a URL.

Our own tells its port on the line to us once it can be asked. A foreign server is given a port that was free a moment
ago and is asked at its ready URL until it answers; should somebody have taken the port meanwhile, it ends and is tried
again on another.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping

import aiohttp

from tulou.service.pool import Endpoint
from tulou.service.supervise import START_TIMEOUT_S, Ended, Launch, Replica, how_it_ended

LOOK_EVERY_S = 0.2


def launcher(session: aiohttp.ClientSession, python: str = sys.executable) -> Launch:
    """Starts whatever kind of replica it is given."""

    async def launch(replica: Replica) -> Endpoint:
        server = replica.spec.server
        if server is None:
            return await _our_own(replica, python)
        return await (_found_at_url(replica, session) if server.url else _from_command(replica, session, python))

    return launch


async def _our_own(replica: Replica, python: str) -> Endpoint:
    spec = replica.spec
    command = [python, "-m", "tulou.service.replica", "--folder", str(spec.folder), "--model", spec.model]
    command += ["--name", spec.name, "--threads", str(spec.threads), "--parent-fd", "0"]
    if spec.cores:
        command += ["--cores", ",".join(map(str, spec.cores))]
    line = await _spawn(replica, command, {})
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            report = await _report(replica, line)
    except TimeoutError:
        raise Ended(f"did not get ready within {START_TIMEOUT_S:g} s") from None
    replica.port = report["port"]
    url = f"http://127.0.0.1:{replica.port}"
    return Endpoint(spec.name, spec.model, url, can_resume=True, version=spec.version)


async def _from_command(replica: Replica, session: aiohttp.ClientSession, python: str) -> Endpoint:
    spec, server = replica.spec, replica.spec.server
    if server is None:
        raise Ended("has no command")
    replica.port = _free_port()
    values = {"model": server.served_as or spec.model, "name": spec.model, "port": str(replica.port)}
    command = [_filled(argument, values) for argument in server.command]
    tether = [python, "-m", "tulou.service.tether", "--parent-fd", "0"]
    if spec.cores:
        tether += ["--cores", ",".join(map(str, spec.cores))]
    await _spawn(replica, [*tether, "--", *command], server.env)
    endpoint = _foreign(replica, f"http://127.0.0.1:{replica.port}")
    await _until_ready(replica, endpoint, session, server.start_timeout_s)
    return endpoint


async def _found_at_url(replica: Replica, session: aiohttp.ClientSession) -> Endpoint:
    server = replica.spec.server
    if server is None:
        raise Ended("has no URL")
    endpoint = _foreign(replica, server.url)
    await _until_ready(replica, endpoint, session, server.start_timeout_s)
    return endpoint


def _foreign(replica: Replica, url: str) -> Endpoint:
    spec, server = replica.spec, replica.spec.server
    if server is None:
        raise Ended("is no foreign server")
    return Endpoint(
        spec.name,
        spec.model,
        url,
        can_resume=server.can_resume,
        version=spec.version,
        served_as=server.served_as,
        authorization=server.authorization,
    )


async def _spawn(replica: Replica, command: list[str], env: Mapping[str, str]) -> socket.socket:
    """Start the process with one end of a line as its standard input; returns the other end."""
    ours, theirs = socket.socketpair()
    replica.line = ours
    ours.setblocking(False)
    threads = {"OMP_NUM_THREADS": str(replica.spec.threads), "TOKENIZERS_PARALLELISM": "false"}
    try:
        with replica.log.open("ab") as log:
            replica.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                env={**os.environ, **threads, **env},
                start_new_session=True,  # Ctrl-C in the terminal is for us alone; we stop the fleet in order
            )
    finally:
        theirs.close()
    return ours


async def _report(replica: Replica, line: socket.socket) -> dict[str, int]:
    """What a replica of ours says once it listens: `{"port": 41235, "pid": 77}`."""
    loop = asyncio.get_running_loop()
    received = b""
    try:
        while not received.endswith(b"\n"):
            chunk = await loop.sock_recv(line, 4096)
            if not chunk:
                raise Ended(await how_it_ended(replica))
            received += chunk
    except ConnectionError:
        raise Ended(await how_it_ended(replica)) from None
    report: dict[str, int] = json.loads(received)
    if "error" in report:
        raise Ended(str(report["error"]))
    return report


async def _until_ready(replica: Replica, endpoint: Endpoint, session: aiohttp.ClientSession, timeout_s: float) -> None:
    server = replica.spec.server
    url = endpoint.url + (server.ready_path if server else "/health")
    headers = {"authorization": endpoint.authorization} if endpoint.authorization else {}
    said = "no connection"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                if replica.process is not None and replica.process.returncode is not None:
                    raise Ended(await how_it_ended(replica))
                try:
                    async with session.get(url, headers=headers) as response:
                        if response.status == 200:
                            return
                        said = f"status {response.status}"
                except (aiohttp.ClientError, OSError) as err:
                    said = str(err) or type(err).__name__
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise Ended(f"did not get ready within {timeout_s:g} s: {url} answers with {said}") from None


def _filled(argument: str, values: Mapping[str, str]) -> str:
    """`{port}` and the like replaced; other braces, such as those of JSON, stay."""
    for name, value in values.items():
        argument = argument.replace("{" + name + "}", value)
    return argument


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
