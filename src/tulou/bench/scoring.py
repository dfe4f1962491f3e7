"""What a cleaner got right, judged by the texts it left: the same for every cleaner, whatever it says about itself.

A pair of copies is found when not both survive; a sensitive value is found when no half of it is still readable; a
damaged text is repaired when it reads as the original, letter by letter. Decisions are looked at only for what texts
cannot tell: which spelling corrections were made, and why a good document was lost.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from tulou.bench.likeness import jaccard, shingles

Truth = Mapping[str, Any]
"""A row of TRUTH."""

SIMILAR = 0.8
REPAIRED = ("mojibake", "html", "full_width", "control")

_BUCKETS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_COPIES = ("exact_duplicate", "near_duplicate")
_SEPARATORS = re.compile(r"[\s().·-]+")
_TYPOGRAPHY = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})
_WHOLE_CHARS = 4  # a value as short as this counts as hidden only if none of it can be taken for it
_SHOWN_MISSES = 4
_SHOWN_CHARS = 40
_WORDS = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*|\d+|[^\W\d_]|[^\w\s]")


@dataclass(frozen=True)
class Result:
    """What a cleaner left of the corpus."""

    texts: Mapping[int, str]  # by row; rows it dropped are missing
    masks: Mapping[str, str]  # what it writes in place of a value, by kind; kinds it has no rule for are missing
    lost_to: Mapping[int, str] = field(default_factory=dict)  # why a row was dropped, "step.rule", where it says so
    spelled: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # text before and after spelling correction


def score(truth: Sequence[Truth], raw: Sequence[str], result: Result) -> dict[str, Any]:
    """Every figure there is; `raw` are the corpus's texts in the order of `truth`."""
    likeness = _likeness(truth, raw)
    return {
        "kept": len(result.texts),
        "near_duplicates": near_duplicates(truth, result),
        "exact_duplicates": exact_duplicates(truth, result),
        "lost": lost(truth, result, likeness),
        "sensitive": sensitive(truth, result),
        "repaired": repaired(truth, result),
        "junk": junk(truth, result),
        "spelling": spelling(truth, result),
        "misses": misses(truth, result),
    }


def near_duplicates(truth: Sequence[Truth], result: Result) -> dict[str, Any]:
    """Of planted pairs, how many do not both survive, by their true similarity."""
    pairs: Counter[float] = Counter()
    merged: Counter[float] = Counter()
    for row in truth:
        if row["kind"] == "near_duplicate":
            bucket = max(edge for edge in _BUCKETS if edge <= row["jaccard"])
            pairs[bucket] += 1
            merged[bucket] += _is_merged(row, result)
    similar = [edge for edge in pairs if edge >= SIMILAR]
    return {
        "pairs": sum(pairs[edge] for edge in similar),
        "recall": _share(sum(merged[edge] for edge in similar), sum(pairs[edge] for edge in similar)),
        "by_similarity": [
            {"from": edge, "pairs": pairs[edge], "merged": merged[edge]} for edge in _BUCKETS if pairs[edge]
        ],
    }


def exact_duplicates(truth: Sequence[Truth], result: Result) -> dict[str, Any]:
    """Equal as they came, and equal only after repair ("disguised")."""
    found: dict[str, list[bool]] = {"same": [], "disguised": []}
    for row in truth:
        if row["kind"] == "exact_duplicate":
            found["same" if row["expected"] is None else "disguised"].append(_is_merged(row, result))
    return {name: {"pairs": len(hits), "recall": _share(sum(hits), len(hits))} for name, hits in found.items()}


def _is_merged(row: Truth, result: Result) -> bool:
    return row["row"] not in result.texts or row["of"] not in result.texts


def lost(truth: Sequence[Truth], result: Result, likeness: Mapping[int, float]) -> dict[str, Any]:
    """Good documents that are gone, though nothing at least 0.8 alike was planted; as copies ("merged") or otherwise.

    "far" are those whose nearest planted copy is below 0.7, so that no definition of shingles would excuse it.
    """
    good = [row["row"] for row in truth if row["kind"] != "junk" and likeness.get(row["row"], 0.0) < SIMILAR]
    gone = [row for row in good if row not in result.texts]
    reasons = Counter(result.lost_to.get(row, "not said") for row in gone)
    merged = [row for row in gone if "duplicate" in result.lost_to.get(row, "duplicate")]
    return {
        "documents": len(good),
        "gone": len(gone),
        "share": _share(len(gone), len(good)),
        "merged": len(merged),
        "merged_share": _share(len(merged), len(good)),
        "merged_far": sum(likeness.get(row, 0.0) < 0.7 for row in merged),
        "reasons": dict(reasons.most_common()),
    }


def _likeness(truth: Sequence[Truth], raw: Sequence[str]) -> dict[int, float]:
    """For each document that has relatives, its similarity to the nearest one."""
    families: dict[int, list[Truth]] = defaultdict(list)
    by_row = {row["row"]: row for row in truth}
    for row in truth:
        if row["kind"] in _COPIES:
            families[row["of"]].append(row)
    nearest: dict[int, float] = {}
    for origin, copies in families.items():
        members = [by_row[origin], *copies] if origin in by_row else copies
        sets = [shingles(row["expected"] or raw[row["row"] - 1], row["language"]) for row in members]
        for at, row in enumerate(members):
            nearest[row["row"]] = max(
                (jaccard(sets[at], other) for place, other in enumerate(sets) if place != at), default=0.0
            )
    return nearest


def sensitive(truth: Sequence[Truth], result: Result) -> dict[str, dict[str, Any]]:
    """By kind: planted values that are gone, and how many of the masks written stand where a value of the kind was."""
    masks = _count_masks(result)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in truth:
        text = result.texts.get(row["row"])
        if text is None:
            continue
        here = masks.get(row["row"], {})
        for value in row["values"]:
            if row["kind"] == "sensitive":
                found[value["kind"]].update(
                    planted=1, gone=is_hidden(value["text"], text), right=bool(here.get(value["kind"]))
                )
            elif row["kind"] == "lookalike":
                found[value["kind"]].update(lookalikes=1, harmed=is_hidden(value["text"], text))
    written = Counter[str]()
    for counts in masks.values():
        written.update(counts)
    return {
        kind: {
            "planted": counts["planted"],
            "recall": _share(counts["gone"], counts["planted"]),
            "masks": written[kind],
            "precision": _share(counts["right"], written[kind]),
            "lookalikes": counts["lookalikes"],
            "lookalikes_hidden": counts["harmed"],
            "has_rule": kind in result.masks,
        }
        for kind, counts in sorted(found.items())
    }


def _count_masks(result: Result) -> dict[int, dict[str, int]]:
    kinds = {mask: kind for kind, mask in result.masks.items()}
    if not kinds:
        return {}
    pattern = re.compile("|".join(re.escape(mask) for mask in kinds))
    counted: dict[int, dict[str, int]] = {}
    for row, text in result.texts.items():
        if found := pattern.findall(text):
            counted[row] = dict(Counter(kinds[mask] for mask in found))
    return counted


def is_hidden(value: str, text: str) -> bool:
    """Whether no stretch longer than half of `value` can still be read in `text`; spaces and dashes do not count."""
    wanted, left = _compact(value), _compact(text)
    size = len(wanted) if len(wanted) <= _WHOLE_CHARS else len(wanted) // 2 + 1
    return not any(wanted[at : at + size] in left for at in range(len(wanted) - size + 1))


def _compact(text: str) -> str:
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", text).casefold())


def repaired(truth: Sequence[Truth], result: Result) -> dict[str, dict[str, Any]]:
    """By kind of damage and by sort: texts that read exactly as they should. Dropped ones are left out of the count."""
    hits: dict[str, dict[str, list[bool]]] = {kind: defaultdict(list) for kind in REPAIRED}
    for row in truth:
        if row["kind"] in REPAIRED and row["row"] in result.texts:
            hits[row["kind"]][row["detail"]].append(reads_as(result.texts[row["row"]], row["expected"]))
    return {
        kind: {
            "rows": sum(len(each) for each in sorts.values()),
            "share": _share(sum(sum(each) for each in sorts.values()), sum(len(each) for each in sorts.values())),
            "by_sort": {
                sort: {"rows": len(each), "share": _share(sum(each), len(each))} for sort, each in sorted(sorts.items())
            },
        }
        for kind, sorts in hits.items()
    }


def reads_as(text: str, expected: str) -> bool:
    """Equal but for white space and typographic variants of punctuation; letters and digits must be the very same."""
    return _plain(text) == _plain(expected)


def _plain(text: str) -> str:
    folded = "".join(
        char if char.isalnum() else unicodedata.normalize("NFKC", char) for char in text.translate(_TYPOGRAPHY)
    )
    return re.sub(r"\s+", "", folded)


def junk(truth: Sequence[Truth], result: Result) -> dict[str, Any]:
    sorts: dict[str, list[bool]] = defaultdict(list)
    for row in truth:
        if row["kind"] == "junk":
            sorts[row["detail"]].append(row["row"] not in result.texts)
    return {sort: {"rows": len(hits), "dropped": _share(sum(hits), len(hits))} for sort, hits in sorted(sorts.items())}


def spelling(truth: Sequence[Truth], result: Result) -> dict[str, Any] | None:
    """Of all words changed, how many were planted slips and became the right word; None where nothing was corrected."""
    if not result.spelled:
        return None
    planted = {row["row"]: row for row in truth if row["kind"] == "typo" and row["row"] in result.texts}
    changed = right = 0
    for number, (before, after) in result.spelled.items():
        changed += len(changes(before, after))
        row = planted.get(number)
        if row is not None and after.casefold().count(row["detail"]) > before.casefold().count(row["detail"]):
            right += 1
    return {
        "planted": len(planted),
        "changed": changed,
        "right": right,
        "precision": _share(right, changed),
        "recall": _share(right, len(planted)),
    }


def misses(truth: Sequence[Truth], result: Result) -> dict[str, list[dict[str, Any]]]:
    """A few cases of each failure with the text around it, so that a figure below 1 can be looked into."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def note(failure: str, row: Truth, **shown: str) -> None:
        if len(found[failure]) < _SHOWN_MISSES:
            found[failure].append({"row": row["row"], **shown})

    kinds = {mask: kind for kind, mask in result.masks.items()}
    pattern = re.compile("|".join(re.escape(mask) for mask in kinds) or r"(?!)")
    for row in truth:
        text = result.texts.get(row["row"])
        if text is None:
            continue
        real = [value for value in row["values"] if value["is_real"] and value["kind"] in result.masks]
        for value in real:
            if not is_hidden(value["text"], text):
                note(f"sensitive {value['kind']} left", row, value=value["text"], text=_around(text, value["text"]))
        for mask in pattern.findall(text):
            if kinds[mask] not in {value["kind"] for value in real}:
                note(f"sensitive {kinds[mask]} seen in vain", row, text=_around(text, mask))
        if row["kind"] in REPAIRED and not reads_as(text, row["expected"]):
            differs = next((at for at, (a, b) in enumerate(zip(text, row["expected"], strict=False)) if a != b), 0)
            start = max(0, differs - _SHOWN_CHARS)
            end = differs + _SHOWN_CHARS
            note(f"{row['kind']} {row['detail']}", row, text=text[start:end], expected=row["expected"][start:end])
        if row["kind"] == "junk":
            note(f"junk {row['detail']} kept", row, text=text[:_SHOWN_CHARS])
    slips = {row["row"]: row["values"][0]["text"] for row in truth if row["kind"] == "typo"}
    by_number = {row["row"]: row for row in truth} if result.spelled else {}
    for number, (before, after) in result.spelled.items():
        if slips.get(number, "\0") not in before:
            note("spelling changed in vain", by_number[number], text=before[:200], after=after[:200])
    return dict(sorted(found.items()))


def _around(text: str, part: str) -> str:
    at = max(0, text.find(part), text.find(unicodedata.normalize("NFKC", part)))
    return text[max(0, at - _SHOWN_CHARS) : at + len(part) + _SHOWN_CHARS]


def changes(before: str, after: str) -> list[tuple[str, str]]:
    """Words (Chinese: characters) that were replaced, each with what came in its place."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    found = [(" ".join(old[a:b]), " ".join(new[c:d])) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]
    if len(found) > 1 and matcher.get_opcodes()[-1][0] != "equal":
        last, instead = found[-1]
        if last.startswith(instead) or instead.startswith(last):  # an excerpt, cut elsewhere as its length changed
            del found[-1]
    return found


def _share(part: float, whole: float) -> float | None:
    """None where there is nothing to have a share of."""
    return round(part / whole, 6) if whole else None
