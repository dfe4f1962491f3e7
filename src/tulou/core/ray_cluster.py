"""Ray: a cluster in this machine that ends with us, or one that runs elsewhere, reached by its client server.

Through the client server a program can start tasks and fetch their results, no more: Ray Data and Ray Train must run
inside. So whatever drives them is a task of its own there. Ray refuses whoever lacks its token where it has one, and
its client does not look for that unless told to.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tulou.core.errors import TulouError
from tulou.core.extras import load_extra

LOCAL = "local"
_AUTH_MODE = "RAY_AUTH_MODE"


def connect(address: str, cpus: int, purpose: str, error: type[TulouError]) -> tuple[Any, bool]:
    """Ray, connected to HOST:PORT or to a new cluster of `cpus` here, and whether it is ours to shut down.

    Raises `error` where no cluster answers at `address`.
    """
    if address != LOCAL and _has_token():
        os.environ.setdefault(_AUTH_MODE, "token")  # Ray reads it when it is imported
    ray = load_extra("ray", "ray", purpose)
    if ray.is_initialized():
        return ray, False
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == LOCAL:
        ray.init(include_dashboard=False, num_cpus=cpus, **options)
        return ray, True
    try:
        ray.init(f"ray://{address}", **options)
    except (ConnectionError, TimeoutError) as err:
        raise error(
            f"no Ray cluster answers at ray://{address}: {err}; is this the port of its client server, and its token "
            "that in RAY_AUTH_TOKEN or ~/.ray/auth_token?"
        ) from err
    return ray, True


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()
