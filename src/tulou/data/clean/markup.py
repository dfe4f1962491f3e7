"""What web pages leave in text: tags, entities (escaped once or oftener), comments, scripts.

Only the names of real HTML elements and entities count, so `a < b`, `<your name>` and `R&D;` stay. What appears when
something is taken out is looked at again, so that `<<b>b>` leaves nothing. Time is linear in the text: what opens
and is never closed is looked for once.
"""

from __future__ import annotations

import html
import re
from html.entities import html5

NEEDS = ("ANGLE", "AMPERSAND")

_BLOCKS = "address|article|aside|blockquote|body|br|caption|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]"
_BLOCKS += "|head|header|hr|html|li|main|nav|ol|option|p|pre|section|select|table|tbody|td|tfoot|th|thead|title|tr|ul"
_INLINES = (
    "a|abbr|b|big|button|center|cite|code|del|em|font|i|iframe|img|input|ins|label|link|mark|meta|o:p|s|small|span"
)
_INLINES += "|script|strike|strong|style|sub|sup|svg|textarea|tt|u|video|wbr"

_HIDDEN_START = re.compile(r"<(?:(?P<element>script|style)\b[^<>]*>|(?P<comment>!--)|!doctype[^<>]*>)", re.IGNORECASE)
_HIDDEN_END = {
    "script": re.compile(r"</script\s{0,9}>", re.IGNORECASE),
    "style": re.compile(r"</style\s{0,9}>", re.IGNORECASE),
    "comment": re.compile("-->"),
}
_FLAGS = "disabled|checked|selected|hidden|readonly|required|multiple|autofocus|controls|async|defer|nowrap|noshade"
# The first attribute has a value, or ends the tag, or is one that has none: `a<b and c>d` compares.
_ATTRIBUTES = rf"(?:\s(?=\s*(?:[\"'/>]|[A-Za-z_:@][\w:.@-]{{0,40}}\s*(?:=|/?>)|(?:{_FLAGS})\s))[^<>]*)?"
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}/?>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINES}){_ATTRIBUTES}/?>", re.IGNORECASE)
_AMPERSANDS = re.compile(r"&(?:(?:amp|#38|#x26);)+(?=#?[0-9A-Za-z]{2,31};)", re.IGNORECASE)
_ENTITY = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});|&nbsp(?![A-Za-z0-9;=])")
_MARKDOWN_LINK = re.compile(r"<(https?://[^\s<>]+)>")
_MAX_PASSES = 8


def strip_markup(text: str) -> tuple[str, list[str]]:
    """`text` without markup, and which of "tags" and "entities" there were."""
    rules: set[str] = set()
    for _ in range(_MAX_PASSES):
        before = text
        if "&" in text and (plain := _without_entities(text)) != text:
            rules.add("entities")
            text = plain
        if "<" in text and (plain := _without_tags(text)) != text:
            rules.add("tags")
            text = plain.strip("\n")
        if text == before:
            break
    return text, sorted(rules, reverse=True)


def _without_entities(text: str) -> str:
    return _ENTITY.sub(_character, _AMPERSANDS.sub("&", text))


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    if name is None:
        return "\xa0"
    return html.unescape(entity[0]) if name[0] == "#" or f"{name};" in html5 else entity[0]


def _without_tags(text: str) -> str:
    plain = _INLINE_TAG.sub("", _BLOCK_TAG.sub("\n", _without_hidden(text)))
    return _MARKDOWN_LINK.sub(r"\1", plain)


def _without_hidden(text: str) -> str:
    """Without scripts, styles, comments and document types."""
    parts = []
    done = 0
    never_closed: set[str] = set()
    for start in _HIDDEN_START.finditer(text):
        kind = "comment" if start["comment"] else (start["element"] or "").lower()
        if start.start() < done or kind in never_closed:
            continue
        end = _HIDDEN_END[kind].search(text, start.end()) if kind else start
        if end is None:
            never_closed.add(kind)
            continue
        parts.append(text[done : start.start()])
        done = end.end()
    return "".join([*parts, text[done:]])
