"""One record's story: where it came from, what each step of cleaning did to it, and where it went.

Nothing is inferred: every link was written down when it was made. An id is looked for in the columns of ids alone, and
only the row groups that hold it are read whole, so that five million records take a second. Texts are shown as
excerpts in which sensitive values are masked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tulou.core.errors import DataError
from tulou.core.state import turns
from tulou.core.tables import DECISION
from tulou.data.clean.record import excerpt

Redact = Callable[[str], str]

_NAMED_IDS = 5  # in the error about a prefix that fits several
_COPIES = ("exact_duplicate", "near_duplicate")
_COPIES_SHOWN = 20
_ANSWERS_SHOWN = 20
_IDS_PER_QUERY = 100


@dataclass(frozen=True)
class Outputs:
    """Folders that the last run left; where a stage has not been run, none."""

    collected: Mapping[str, Path]  # by source
    cleaned: Mapping[str, Path]  # by source
    passages: Path | None = None
    datasets: Mapping[str, Path] = field(default_factory=dict)  # of LABELLED or CONVERSATION rows, by stage


def tell_story(given: str, outputs: Outputs, redact: Redact, state: Engine | None = None) -> dict[str, Any]:
    """All that is known of the record whose id is, or begins with, `given`.

    Raises `DataError` where no record is called so, or several are.
    """
    source, collected = _collected(given, outputs)
    record_id = collected["id"]
    folder = outputs.cleaned.get(source)
    decisions = _rows(folder, "decisions", "record_id", record_id, DECISION.names) if folder else []
    cleaned = _row(folder, record_id)
    dropping = next((decision for decision in decisions if decision["action"] == "dropped"), None)
    is_copy = dropping is not None and dropping["step"] in _COPIES
    passages = _rows(outputs.passages, "passages", "document_id", record_id, ["id", "heading", "text"])
    return {
        **{name: collected[name] for name in ("id", "source", "uri", "position", "media_type", "label")},
        "title": redact(collected["title"]),
        "subject_id": redact(collected["subject_id"]) if collected["subject_id"] else None,
        **{name: collected[name] for name in ("content_hash", "modified_at")},
        "collected": _shown(collected, redact),
        "decisions": [{name: row[name] for name in ("step", "rule", "action", "before", "after")} for row in decisions],
        "fate": "kept" if cleaned else "dropped" if dropping else "not cleaned yet",
        "dropped_by": f"{dropping['step']}.{dropping['rule']}" if dropping else None,
        "kept_copy": _shown_copy(folder, dropping["after"], redact) if dropping and is_copy else None,
        "cleaned": _shown(cleaned, redact) if cleaned else None,
        "copies": _copies_of(folder, record_id) if cleaned else {"count": 0, "ids": []},
        "passages": [{"id": row["id"], "heading": row["heading"], "chars": len(row["text"])} for row in passages],
        "datasets": _datasets(outputs.datasets, record_id),
        "answers": _answers(state, [row["id"] for row in passages], redact) if state else [],
    }


def list_records(outputs: Outputs, source: str | None, rule: str | None, limit: int) -> dict[str, Any]:
    """Records that `rule` ("step" or "step.rule"; None: any) changed or dropped in `source` (None: in all).

    Returns {"records", "total", "rules": {"step.rule": decisions}}. Raises `DataError` for a source or a rule that
    cleaning did not meet.
    """
    if source is not None and source not in outputs.cleaned:
        raise DataError(f"no source {source!r} was cleaned; choose from {', '.join(outputs.cleaned) or 'none yet'}")
    wanted_step, _, wanted_rule = (rule or "").partition(".")
    rules: Counter[str] = Counter()
    records: list[dict[str, Any]] = []
    total = 0
    for name, folder in outputs.cleaned.items():
        if source not in (None, name):
            continue
        for file, group in _groups(folder, "decisions"):
            columns = file.read_row_group(group, columns=["step", "rule"])
            for row in columns.group_by(["step", "rule"]).aggregate([([], "count_all")]).to_pylist():
                rules[f"{row['step']}.{row['rule']}"] += row["count_all"]
            is_wanted = _is_wanted(columns, wanted_step, wanted_rule)
            total += pc.sum(is_wanted).as_py() or 0
            if len(records) < limit and pc.any(is_wanted).as_py():
                found = file.read_row_group(group).filter(is_wanted).slice(0, limit - len(records))
                records += [_listed(row, name) for row in found.to_pylist()]
    if rule is not None and not total:
        raise DataError(f"cleaning met nothing for the rule {rule!r}; choose from {', '.join(sorted(rules)) or 'none'}")
    return {"records": records, "total": total, "rules": dict(rules.most_common())}


def _is_wanted(columns: pa.Table, step: str, rule: str) -> pa.ChunkedArray:
    is_step = pc.equal(columns["step"], step) if step else pc.is_valid(columns["step"])
    return pc.and_(is_step, pc.equal(columns["rule"], rule)) if rule else is_step


def _listed(row: Mapping[str, Any], source: str) -> dict[str, Any]:
    return {
        "id": row["record_id"],
        "source": source,
        **{name: row[name] for name in ("uri", "position", "action")},
        "rule": f"{row['step']}.{row['rule']}",
        "before": row["before"],
    }


def _collected(given: str, outputs: Outputs) -> tuple[str, dict[str, Any]]:
    """The source and the DOCUMENT row as collected."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for source, folder in outputs.collected.items() if given else ():
        for file, group in _groups(folder, "documents"):
            ids = file.read_row_group(group, columns=["id"]).column("id")
            places = pc.indices_nonzero(pc.starts_with(ids, given)).to_pylist()
            exact = [place for place in places if ids[place].as_py() == given]
            for place in exact or places[: _NAMED_IDS + 1 - len(found)]:
                row = file.read_row_group(group).slice(place, 1).to_pylist()[0]
                found[row["id"]] = (source, row)
    if given in found:
        return found[given]
    if not found:
        raise DataError(
            f"there is no record {given!r} in the last run; "
            "`tulou explain --source NAME --rule STEP.RULE` lists records with their ids"
        )
    if len(found) > 1:
        names = ", ".join(sorted(found)[:_NAMED_IDS])
        raise DataError(f"several records have ids that begin with {given!r}, such as {names}; give more of it")
    return next(iter(found.values()))


def _groups(folder: Path | None, name: str) -> Iterator[tuple[pq.ParquetFile, int]]:
    """The row groups of all `NAME-*.parquet` in `folder`."""
    for path in sorted(folder.glob(f"{name}-*.parquet")) if folder else ():
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file, group


def _rows(folder: Path | None, name: str, key: str, value: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for file, group in _groups(folder, name):
        is_it = pc.equal(file.read_row_group(group, columns=[key]).column(key), value)
        if pc.any(is_it).as_py():
            rows += file.read_row_group(group, columns=list(columns)).filter(is_it).to_pylist()
    return rows


def _row(cleaned: Path | None, record_id: str) -> dict[str, Any] | None:
    columns = ["id", "uri", "position", "title", "text", "language"]
    return next(iter(_rows(cleaned, "documents", "id", record_id, columns)), None)


def _shown(row: Mapping[str, Any], redact: Redact) -> dict[str, Any]:
    return {"text": excerpt(row["text"], redact), "chars": len(row["text"]), "language": row["language"]}


def _shown_copy(cleaned: Path | None, record_id: str, redact: Redact) -> dict[str, Any]:
    row = _row(cleaned, record_id)
    if row is None:
        return {"id": record_id, "uri": None, "position": None, "text": None}
    return {name: row[name] for name in ("id", "uri", "position")} | {"text": excerpt(row["text"], redact)}


def _copies_of(cleaned: Path | None, record_id: str) -> dict[str, Any]:
    """The records dropped because this one says the same."""
    ids: list[str] = []
    for file, group in _groups(cleaned, "decisions"):
        is_copy = pc.is_in(file.read_row_group(group, columns=["step"]).column("step"), pa.array(_COPIES))
        if not pc.any(is_copy).as_py():
            continue
        rows = file.read_row_group(group, columns=["record_id", "after"]).filter(is_copy)
        ids += rows.filter(pc.equal(rows["after"], record_id)).column("record_id").to_pylist()
    return {"count": len(ids), "ids": ids[:_COPIES_SHOWN]}


def _datasets(folders: Mapping[str, Path], record_id: str) -> list[dict[str, Any]]:
    """In which splits of which models' examples the record is, and how many examples came of it."""
    found = []
    for stage, folder in folders.items():
        splits: Counter[str] = Counter()
        for name in ("labelled", "conversations"):
            splits.update(row["split"] for row in _rows(folder, name, "document_id", record_id, ["split"]))
        found += [{"stage": stage, "split": split, "rows": rows} for split, rows in sorted(splits.items())]
    return found


def _answers(state: Engine, passages: Sequence[str], redact: Redact) -> list[dict[str, Any]]:
    """The latest answers that were given with one of the passages before them."""
    found: list[dict[str, Any]] = []
    with state.connect() as connection:
        for start in range(0, len(passages), _IDS_PER_QUERY):
            ids = passages[start : start + _IDS_PER_QUERY]
            quoted = sa.or_(*(sa.cast(turns.c.passages, sa.Text).contains(id_) for id_ in ids))
            chosen = sa.select(turns.c.id, turns.c.at, turns.c.question).where(quoted)
            rows = connection.execute(chosen.order_by(turns.c.at.desc()).limit(_ANSWERS_SHOWN)).mappings()
            found += [{"id": row["id"], "at": row["at"], "question": excerpt(row["question"], redact)} for row in rows]
    unique = {answer["id"]: answer for answer in found}
    return sorted(unique.values(), key=lambda answer: -answer["at"])[:_ANSWERS_SHOWN]
