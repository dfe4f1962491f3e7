"""A tether: runs somebody else's server and ends it when we end, however we ended.

`python -m tulou.service.tether --parent-fd 0 -- vllm serve ...`: the command runs in a process group of its own, with
no shell between. The fleet holds the other end of the socket pair; the kernel closes it even after kill -9, and then
the whole group is killed. SIGTERM asks the group to stop and kills it when it takes too long. Standard library only, so
that the tether is up before the server and costs 10 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_GRACE_S = 10.0  # a large server takes a while to give back a GPU


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tulou.service.tether")
    parser.add_argument("--parent-fd", type=int, required=True)
    parser.add_argument("--cores", default="", help="numbers of the cores to stay on, with commas")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args(argv)
    parent = socket.socket(fileno=args.parent_fd)
    if args.cores:
        os.sched_setaffinity(0, {int(core) for core in args.cores.split(",")})
    try:
        server = subprocess.Popen(
            args.command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
        )
    except OSError as err:
        sys.stderr.write(f"{args.command[0]} cannot be started: {err.strerror}\n")
        return 127
    threading.Thread(target=_end_with, args=(parent, server), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda number, _frame: _ask_to_stop(server, number, _frame))
    code = server.wait()
    _kill(server)  # what it left behind in its group
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    """In the server before it becomes itself: let the kernel kill it if the tether alone is killed (Linux only)."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _ask_to_stop(server: subprocess.Popen[bytes], number: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, number)
    timer = threading.Timer(STOP_GRACE_S, _kill, (server,))
    timer.daemon = True
    timer.start()


def _end_with(parent: socket.socket, server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        parent.recv(1)
    _kill(server)
    os._exit(0)


def _kill(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
