"""A project on disk: its settings and where each of its parts lives. Opening one loads nothing heavy."""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import SettingsError
from tulou.core.settings import FILE_NAME, DataSettings, Settings, SupportSettings, load_settings, with_listen
from tulou.core.stage import RUNNING, read_json
from tulou.core.urls import expand

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from tulou.model.registry import Registry

SECRET_BYTES = 32


@dataclass(frozen=True)
class Project:
    folder: Path
    settings: Settings

    @classmethod
    def open(cls, folder: Path, listen: str | None = None) -> Project:
        """Read `tulou.toml` in `folder`; `listen` (HOST:PORT) replaces the file's. Raises `SettingsError`."""
        folder = folder.resolve()
        settings = load_settings(folder)
        _require_own_search_folder(folder, settings.data)
        with suppress(OSError):  # whoever needs to write there says it better
            (folder / ".tulou").mkdir(mode=0o700, exist_ok=True)
        return cls(folder, with_listen(settings, listen) if listen else settings)

    @property
    def home(self) -> Path:
        return self.folder / ".tulou"

    @property
    def stages(self) -> Path:
        return self.home / "stages"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def feedback(self) -> Path:
        return self.home / "feedback"

    @property
    def service_file(self) -> Path:
        return self.home / "service.json"

    @property
    def admin_key_file(self) -> Path:
        return self.home / "admin.key"

    @property
    def search(self) -> Path:
        """Folder of the embedded index, and of what is kept beside an index elsewhere."""
        search = self.settings.data.search
        return self.home / "search" if "://" in search else self.folder / search

    @property
    def support(self) -> SupportSettings:
        """[apps.support], without the intents where the project has no such classifier."""
        settings = self.settings.apps.support
        model = self.settings.models.get(settings.intents or "")
        is_classifier = model is not None and model.task == "classify"
        return settings if is_classifier else settings.model_copy(update={"intents": None})

    @cached_property
    def state(self) -> Engine:
        from tulou.core.state import open_state

        return open_state(expand(self.settings.data.state), self.folder)

    @cached_property
    def registry(self) -> Registry:
        from tulou.model.registry import Registry

        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = expand(self.settings.registry.url)
        if url.startswith("sqlite:///"):
            return Registry(f"sqlite:///{self.folder / url.removeprefix('sqlite:///')}", self.home / "registry")
        return Registry(url, self.home / "registry", prefix=f"{self.settings.project.name}.")

    def has_secret(self, name: str) -> bool:
        return self._secret_file(name).exists()

    def secret(self, name: str) -> bytes:
        """A random key of this project, made at its first use and kept in a file that only its owner may read."""
        path = self._secret_file(name)
        if not path.exists():
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private_once(path, secrets.token_bytes(SECRET_BYTES))
        return path.read_bytes()

    def _secret_file(self, name: str) -> Path:
        return self.home / f"{name}.secret"

    def running_service(self) -> dict[str, Any] | None:
        """What the running service wrote about itself; None if there is none, or only the file of a killed one."""
        return _told_by_a_living_process(self.service_file)

    def run_at_work(self) -> dict[str, Any] | None:
        """Which process runs which stage of this project, and since when; None where no run is at work."""
        return _told_by_a_living_process(self.stages / RUNNING)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _write_private_once(path: Path, content: bytes) -> None:
    """Write a private file whole, unless another process was faster: then its content stays."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    try:
        write_private(partial, content)
        with suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _require_own_search_folder(project: Path, data: DataSettings) -> None:
    """Raises `SettingsError` where the index would share a folder with the project or with a source's files."""
    if "://" in data.search:
        return
    search = (project / data.search).resolve()
    if project.is_relative_to(search) or (search / FILE_NAME).exists():
        raise SettingsError(f"data.search {data.search!r} is a project's folder; give the index its own, .tulou/search")
    for source in data.source:
        fixed = (project / re.split(r"[^/]*[*?\[]", source.url.removeprefix("file://"))[0]).resolve()
        if "://" not in source.url.removeprefix("file://") and fixed.is_relative_to(search):
            raise SettingsError(
                f"data.search {data.search!r} holds the files of source {source.name!r}; "
                "give the index its own folder, .tulou/search"
            )


def _told_by_a_living_process(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] | None = read_json(path)
    except json.JSONDecodeError:
        return None
    return found if found and _is_same_process(found["pid"], found["started_at"]) else None


def _is_same_process(pid: int, started_at: float) -> bool:
    """Whether `pid` still is the process that wrote the file, and not a later one with the same number."""
    import psutil

    try:
        return bool(psutil.Process(pid).create_time() <= started_at)
    except psutil.Error:
        return False
