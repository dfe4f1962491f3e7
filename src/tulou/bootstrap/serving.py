"""Which model folders serve: the registry's champions, with their versions written into what clients see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tulou.bootstrap.project import Project
from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.types import ModelManifest


@dataclass(frozen=True)
class Served:
    folder: Path
    manifest: ModelManifest


def served_models(project: Project) -> dict[str, Served]:
    """The champion of every model of the project. Raises `ModelError` where one was never made."""
    served = {}
    for name in project.settings.models:
        champion = project.registry.champion(name)
        if champion is None:
            raise ModelError(f"model {name!r} has not been made yet; `tulou run` makes it")
        manifest = replace(read_manifest(champion.folder), name=name, version=str(champion.version))
        served[name] = Served(champion.folder, manifest)
    return served
