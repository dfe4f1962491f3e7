"""Templates: sample businesses that `tulou init` writes out, generated from a seed.

A project appears whole or not at all: it is written into a staging folder inside the target and moved up at the end,
`tulou.toml` last. A file whose writer lacks something on this machine is left out and named.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tulou.core.errors import DataError, DiskFullError
from tulou.core.progress import Progress
from tulou.core.settings import FILE_NAME
from tulou.templates import shop
from tulou.templates.written import Written

Template = Callable[[Path, Progress], list[Written]]

TEMPLATES: dict[str, Template] = {"shop": shop.write}

_STAGING = ".tulou-init"


def write_template(name: str, folder: Path, progress: Progress, content: Sequence[Path] = ()) -> list[Written]:
    """Write the sample business `name` into `folder`, which must be empty or not there yet.

    `content` are content-template files copied into the project's `content/`. Returns every file in writing order,
    relative to `folder`, with the reason where it was left out. Raises `DataError` for an unknown name or a folder that
    cannot be used, `DiskFullError` where the space ran out; either way nothing is left behind.
    """
    if name not in TEMPLATES:
        raise DataError(f"unknown template {name!r}; choose from {', '.join(sorted(TEMPLATES))}")
    staging = folder / _STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of an earlier run that was killed
        if folder.exists() and any(folder.iterdir()):
            raise DataError(f"{folder} is not empty; name a new or an empty folder")
        staging.mkdir(parents=True)
        written = [*TEMPLATES[name](staging, progress), *_copied(content, staging / "content")]
        for child in sorted(staging.iterdir(), key=lambda child: child.name == FILE_NAME):
            child.rename(folder / child.name)
    except OSError as err:
        if err.errno == errno.ENOSPC:
            raise DiskFullError(f"no space left for the sample business in {folder}; free some and try again") from err
        raise DataError(f"cannot write the sample business into {folder}: {err.strerror}") from err
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return written


def _copied(files: Sequence[Path], folder: Path) -> list[Written]:
    folder.mkdir(exist_ok=True)
    return [
        Written(path=f"{folder.name}/{Path(shutil.copyfile(file, folder / file.name)).name}", skipped=None)
        for file in files
    ]
