"""What a template reports for each file."""

from typing import TypedDict


class Written(TypedDict):
    path: str  # relative to the project folder
    skipped: str | None  # why the file was left out
