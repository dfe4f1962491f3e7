"""What `tulou status` tells: the last run, the registered champions, and the running service as it answers now."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tulou.bootstrap.budget import compare_results
from tulou.bootstrap.pipeline import build_pipeline
from tulou.bootstrap.project import Project

TIMEOUT_S = 3.0


def project_status(project: Project) -> dict[str, Any]:
    done = build_pipeline(project).latest()
    running = project.running_service()
    return {
        "project": project.settings.project.name,
        "folder": str(project.folder),
        "last_run": {
            "finished_at": max(result.finished_at for result in done.values()),
            "stages": len(done),
            "exam": _exam(done["exam"].summary) if "exam" in done else None,
        }
        if done
        else None,
        "run_at_work": project.run_at_work(),
        "planned": compare_results(project, list(done.values())),
        "models": _champions(project) if done else [],
        "running": running is not None,
        "url": running["url"] if running else None,
        "pid": running["pid"] if running else None,
        "ready": _ready(running["url"]) if running else False,
        **(_windows(project, running["url"]) if running else {"replicas": [], "scalings": []}),
    }


def _exam(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key != "rows"}


def _champions(project: Project) -> list[dict[str, Any]]:
    found = [(name, project.registry.champion(name)) for name in project.settings.models]
    return [
        {"name": name, "version": champion.version, "precision": champion.precision}
        for name, champion in found
        if champion is not None
    ]


def _ready(url: str) -> bool:
    """Whether every model has a replica that answers."""
    try:
        return bool(_get(f"{url}/readyz")["status"] == "ready")
    except (OSError, ValueError, KeyError):
        return False


def _windows(project: Project, url: str) -> dict[str, list[dict[str, Any]]]:
    """What the console shows of the replicas; empty where the first admin key is gone or was revoked."""
    names = ("replicas", "scalings")
    try:
        body = json.dumps({"key": project.admin_key_file.read_text().strip()}).encode()
        login = urllib.request.Request(
            f"{url}/api/admin/login", body, {"Content-Type": "application/json"}, method="POST"
        )
        with _open(login) as response:
            cookie = str(response.headers["Set-Cookie"]).partition(";")[0]
        return {name: _get(f"{url}/api/admin/{name}", {"Cookie": cookie}) for name in names}
    except (OSError, ValueError):
        return {name: [] for name in names}


def _get(url: str, headers: dict[str, str] | None = None) -> Any:
    with _open(urllib.request.Request(url, headers=headers or {})) as response:
        return json.load(response)


def _open(request: urllib.request.Request) -> Any:
    """Past any proxy of the environment: it could not reach this machine, and the admin key is not for its eyes."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=TIMEOUT_S)
