"""Mails (.eml): who wrote when about what, the body, and the attachments as files of their own.

Headers are decoded by hand from what the message holds, because mailers of China and Taiwan write GBK and Big5 with and
without saying so, and the stricter parser of the standard library stumbles over such headers. Of a body in two forms
the plain one is taken.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from email import errors, message_from_bytes
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path

from tulou.core.errors import DataError
from tulou.data.collect.piece import Piece, split_long
from tulou.data.collect.text import WIDER

MEDIA_TYPE = "message/rfc822"

_MAX_BYTES = 64 << 20
_MAX_PARTS = 500
_MAX_DEPTH = 20  # of parts within parts
_USUAL_HEADERS = ("from", "to", "subject", "date", "received", "message-id", "mime-version", "content-type")
_GUESSES = ("utf-8", "gb18030", "big5hkscs")


@dataclass(frozen=True)
class Mail:
    subject: str
    sender: str  # address
    recipient: str  # address of the first
    sent_at: str | None  # ISO 8601, UTC
    text: str
    html: str  # where there is no plain text
    attachments: tuple[tuple[str, bytes], ...]  # name and content

    def person(self, column: str | None) -> str | None:
        """Whom the mail is about, where the source names "from" or "to"."""
        return {"from": self.sender, "to": self.recipient}.get(column or "") or None

    def pieces(self, name: str, html_as_text: str) -> list[Piece]:
        """The mail as Markdown, its subject as heading; nothing where it has neither."""
        body = (self.text or html_as_text).strip()
        text = "\n\n".join(filter(None, (f"# {self.subject}" if self.subject else "", body)))
        return split_long(self.subject or name, text) if text else []


def read_mail(path: Path) -> Mail:
    """Raises `DataError` where the file is too large or no mail."""
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise DataError(f"is {size:,} bytes; mails are read up to {_MAX_BYTES:,}")
    try:
        message = message_from_bytes(path.read_bytes())
        if not any(name in message for name in _USUAL_HEADERS):
            raise DataError("is no mail: it begins with none of the usual header lines")
        return _mail(message)
    except (RecursionError, errors.MessageError, ValueError, LookupError, TypeError, AttributeError) as err:
        raise DataError(f"cannot be read as a mail: {' '.join(str(err).split())[:200] or type(err).__name__}") from err


def safe_name(name: str) -> str:
    """`name` as a file name of ours: nothing that leads elsewhere, and not too long."""
    return re.sub(r"[^\w.\- ]", "_", Path(name.replace("\\", "/")).name)[-80:].lstrip(".") or "attachment"


def _mail(message: Message) -> Mail:
    plain: list[str] = []
    html: list[str] = []
    attachments: list[tuple[str, bytes]] = []
    for number, part in enumerate(_leaves(message), 1):
        if number > _MAX_PARTS:
            raise DataError(f"has more than {_MAX_PARTS} parts")
        kind = part.get_content_type()
        name = _file_name(part)
        if kind in ("text/plain", "text/html") and not name and part.get_content_disposition() != "attachment":
            (html if kind == "text/html" else plain).append(_text(part))
        elif content := _content(part):
            attachments.append((name or f"{number}{_ending(kind)}", content))
    text = "\n\n".join(part.strip() for part in plain if part.strip())
    return Mail(
        subject=" ".join(_header(message, "subject").split()),
        sender=_address(message, "from"),
        recipient=_address(message, "to"),
        sent_at=_sent_at(message),
        text=text,
        html="" if text else "\n".join(html),
        attachments=tuple(_named_apart(attachments)),
    )


def _leaves(message: Message, depth: int = 0) -> Iterator[Message]:
    """Parts that hold something; a mail within the mail is one part."""
    if not message.is_multipart() or message.get_content_type() == MEDIA_TYPE:
        yield message
        return
    if depth > _MAX_DEPTH:
        raise DataError(f"has parts more than {_MAX_DEPTH} deep within each other")
    for part in message.get_payload():
        if isinstance(part, Message):
            yield from _leaves(part, depth + 1)


def _content(part: Message) -> bytes:
    if part.is_multipart():
        inner = part.get_payload(0)
        return inner.as_bytes() if isinstance(inner, Message) else b""
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    charset = part.get_param("charset")
    return _decoded(_content(part), charset if isinstance(charset, str) else None)


def _file_name(part: Message) -> str:
    name = part.get_filename()
    return " ".join(_unfolded(name).split()).replace(",", "_") if name else ""


def _ending(kind: str) -> str:
    return {MEDIA_TYPE: ".eml", "text/html": ".html", "text/plain": ".txt"}.get(kind, "")


def _named_apart(attachments: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Two attachments of one name would become one document."""
    seen: set[str] = set()
    for number, (name, content) in enumerate(attachments, 1):
        apart = f"{number}-{name}" if name in seen else name
        seen.add(apart)
        yield apart, content


def _address(message: Message, header: str) -> str:
    found = getaddresses([_header(message, header)])
    return next((address.strip().lower() for _, address in found if "@" in address), "")


def _sent_at(message: Message) -> str | None:
    try:
        sent = parsedate_to_datetime(_header(message, "date"))
        return (sent if sent.tzinfo else sent.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _header(message: Message, wanted: str) -> str:
    return next((_unfolded(str(value)) for name, value in message.raw_items() if name.lower() == wanted), "")


def _unfolded(value: str) -> str:
    """A header as text: encoded words decoded, bytes that were not encoded taken for what they probably are."""
    if "=?" not in value:
        return _decoded(value.encode("utf-8", errors="surrogateescape"), None)
    try:
        chunks = decode_header(value)
    except (errors.HeaderParseError, binascii.Error, ValueError):
        return value.encode("utf-8", errors="replace").decode()
    return "".join(
        chunk if isinstance(chunk, str) else _decoded(chunk if charset else _raw(chunk), charset)
        for chunk, charset in chunks
    )


def _raw(chunk: bytes) -> bytes:
    """What stood between encoded words; decode_header gives it as raw-unicode-escape."""
    return chunk.decode("raw-unicode-escape", errors="replace").encode("utf-8", errors="surrogateescape")


def _decoded(raw: bytes, charset: str | None) -> str:
    if charset:
        try:
            return raw.decode(WIDER.get(charset.lower(), charset), errors="replace")
        except (LookupError, ValueError):  # an encoding nobody knows
            pass
    for guess in _GUESSES:
        try:
            return raw.decode(guess)
        except UnicodeDecodeError:
            continue
    return raw.decode("cp1252", errors="replace")
