"""Documents to passages: short enough to quote, whole enough to answer.

The text is read as light Markdown. A passage never crosses a heading and carries the path of headings above it; within
a section blocks are packed up to the limit, long paragraphs are cut between sentences (of both languages), and a long
table is cut between rows, each part with the header again. Where an overlap is wanted, a passage begins with the last
sentences of the one before it; that room is taken from its own text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from tulou.core.sentences import sentence_ends, split_sentences
from tulou.core.tables import PASSAGE
from tulou.data.language import detect

_BATCH_ROWS = 1000
_HEADING = re.compile(r"(#{1,6})\s+(\S.*)$")
_BOLD_HEADING = re.compile(r"\*\*([^*]{2,60}?)[:：]?\*\*[:：]?$")
_TABLE_RULE = re.compile(r":?-{3,}:?")
_LONE_LINE_CHARS = 60
_CLAUSE = re.compile(r".+?(?:[，、,：:]|\s|$)", re.DOTALL)
_MARKS = re.compile(r"\*\*|__|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|`")
_LINK = re.compile(r"!?\[([^\[\]]{0,1000})\]\([^)]{0,2000}\)")  # bounded: "[](" a thousand times costs no seconds


@dataclass(frozen=True)
class Section:
    headings: tuple[str, ...]
    blocks: tuple[str, ...]  # paragraphs, lists and tables


def passages(documents: Iterable[pa.RecordBatch], max_chars: int, overlap_chars: int = 0) -> Iterator[pa.RecordBatch]:
    """PASSAGE batches from DOCUMENT batches; only a single table row may exceed `max_chars`.

    Up to `overlap_chars` of whole sentences are repeated from the passage before in the same section.
    """
    rows: list[dict[str, str]] = []
    for batch in documents:
        for document in batch.to_pylist():
            rows.extend(_document_passages(document, max_chars, overlap_chars))
            if len(rows) >= _BATCH_ROWS:
                yield pa.RecordBatch.from_pylist(rows, schema=PASSAGE)
                rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=PASSAGE)


def _document_passages(document: dict[str, str], max_chars: int, overlap_chars: int) -> Iterator[dict[str, str]]:
    if not document["text"].strip():
        return
    number = 0
    found = list(sections(document["text"], is_plain=document["media_type"] == "text/plain"))
    for section in found or [
        Section((), (document["text"].replace("#", "").strip(),))
    ]:  # a text of headings only says what they say
        path = [heading for heading in section.headings if heading != document["title"]]
        for text in _packed(section.blocks, max_chars, overlap_chars):
            language = detect(text)
            yield {
                "id": hashlib.sha256(f"{document['id']}\0{number}".encode()).hexdigest()[:24],
                "document_id": document["id"],
                "source": document["source"],
                "uri": document["uri"],
                "position": document["position"],
                "title": document["title"],
                "heading": " > ".join(path),
                "text": text,
                "language": language if language != "other" else document["language"],
                "modified_at": document["modified_at"],
            }
            number += 1


def sections(text: str, *, is_plain: bool = False) -> Iterator[Section]:
    """The stretches between headings that have any text, with the headings above them, outermost first.

    `is_plain` texts have no marks; in them a short line on its own before a paragraph is a heading.
    """
    path: list[tuple[int, str]] = []
    blocks: list[str] = []
    found = list(_blocks(text))
    for number, block in enumerate(found):
        heading = _as_heading(block) or (_unmarked_heading(found, number) if is_plain else None)
        if heading is None:
            blocks.append(block)
            continue
        if blocks:
            yield Section(tuple(title for _, title in path), tuple(blocks))
            blocks = []
        while path and path[-1][0] >= heading[0]:
            path.pop()
        path.append(heading)
    if blocks:
        yield Section(tuple(title for _, title in path), tuple(blocks))


def _blocks(text: str) -> Iterator[str]:
    """Headings one by one, tables and runs of other lines together."""
    lines: list[str] = []
    was_table = False
    for raw in text.split("\n"):
        line = raw.rstrip()
        is_table = line.lstrip().startswith("|")
        is_heading = _HEADING.match(line) is not None
        if lines and (not line or is_heading or is_table != was_table):
            yield "\n".join(lines)
            lines = []
        if is_heading:
            yield line
        elif line:
            lines.append(line)
        was_table = is_table
    if lines:
        yield "\n".join(lines)


def _as_heading(block: str) -> tuple[int, str] | None:
    if found := _HEADING.match(block):
        return len(found[1]), _plain(found[2].rstrip().rstrip("#") or found[2])
    if found := _BOLD_HEADING.fullmatch(block):
        return 7, _plain(found[1])
    return None


def _unmarked_heading(blocks: list[str], number: int) -> tuple[int, str] | None:
    following = blocks[number + 1 : number + 2]
    if not _is_lone_line(blocks[number]) or not following:
        return None
    if number == 0:
        return 1, blocks[0].strip()
    return None if _is_lone_line(following[0]) else (2, blocks[number].strip())


def _is_lone_line(block: str) -> bool:
    line = block.strip()
    return "\n" not in line and len(line) <= _LONE_LINE_CHARS and re.search(r"[\w”」）)?？]$", line) is not None


def _packed(blocks: Iterable[str], max_chars: int, overlap_chars: int) -> Iterator[str]:
    """Blocks put together up to the limit, each passage after the first with the end of the text before it."""
    packed = ""
    told = ""  # what of `packed` is text, back to its last table
    for block in blocks:
        is_table = block.lstrip().startswith("|")
        for part in (
            _table_parts(block.split("\n"), max_chars) if is_table else _parts(block, max_chars - overlap_chars)
        ):
            joined = f"{packed}\n{part}" if packed else part
            if len(joined) <= max_chars:
                packed = joined
            else:
                yield packed
                repeated = "" if is_table else _ending(told, min(overlap_chars, max_chars - len(part) - 1))
                told = repeated
                packed = f"{repeated}\n{part}" if repeated else part
            told = "" if is_table else f"{told}\n{part}"
    if packed:
        yield packed


def _ending(text: str, max_chars: int) -> str:
    """The last whole sentences of `text` that fit."""
    start = len(text)
    for end in reversed([0, *sentence_ends(text)][:-1]):
        if len(text[end:].strip()) > max_chars:
            break
        start = end
    return text[start:].strip()


def _parts(block: str, max_chars: int) -> list[str]:
    text = _plain(block)
    if len(text) <= max_chars:
        return [text]
    parts: list[str] = []
    for sentence in split_sentences(text):
        pieces = [sentence] if len(sentence) <= max_chars else list(_forced(sentence, max_chars))
        for piece in pieces:
            glue = "" if parts and not (parts[-1][-1:].isascii() and piece[:1].isascii()) else " "
            if parts and len(parts[-1]) + len(glue) + len(piece) <= max_chars:
                parts[-1] += glue + piece
            else:
                parts.append(piece)
    return parts


def _forced(sentence: str, max_chars: int) -> Iterator[str]:
    """A sentence over the limit, cut between clauses, and where there are none wherever the limit falls."""
    piece = ""
    for clause in _CLAUSE.findall(sentence):
        if len(piece) + len(clause) > max_chars and piece:
            yield piece.strip()
            piece = ""
        piece += clause
        while len(piece) > max_chars:
            yield piece[:max_chars]
            piece = piece[max_chars:]
    if piece.strip():
        yield piece.strip()


def _table_parts(lines: list[str], max_chars: int) -> list[str]:
    """Rows as "column: value; column: value", which reads and matches like a sentence; lines up to the limit."""
    rows = [_cells(line) for line in lines]
    has_header = len(rows) > 1 and all(_TABLE_RULE.fullmatch(cell) for cell in rows[1])
    header = rows[0] if has_header else []
    told = [_told(header, row) for row in rows[2 if has_header else 0 :]]
    parts: list[str] = []
    for line in filter(None, told or [_told([], header)]):
        if parts and len(parts[-1]) + 1 + len(line) <= max_chars:
            parts[-1] += "\n" + line
        else:
            parts.append(line)
    return parts


def _told(header: list[str], row: list[str]) -> str:
    pairs = []
    for place, value in enumerate(row):
        if not value:
            continue
        name = header[place] if place < len(header) else ""
        pairs.append(f"{name}: {value}" if name else value)
    return "; ".join(pairs)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [_plain(cell.replace("\\|", "|").strip()) for cell in re.split(r"(?<!\\)\|", inner)]


def _plain(text: str) -> str:
    """Without Markdown's marks, which nobody wants to read or search for."""
    if "](" in text:
        text = _LINK.sub(r"\1", text)
    if "*" in text or "_" in text or "`" in text:
        text = _MARKS.sub("", text)
    return text.strip()
