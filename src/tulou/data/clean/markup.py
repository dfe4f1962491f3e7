"""What web pages leave in text: tags, entities, comments, scripts.

Only the names of real HTML elements count as tags, so `a < b` and `<your name>` stay.
"""

from __future__ import annotations

import html
import re

_BLOCKS = "address|article|blockquote|body|br|dd|div|dl|dt|footer|form|h[1-6]|head|header|hr|html|li|main|nav|ol|p|pre"
_BLOCKS += "|section|table|tbody|td|tfoot|th|thead|title|tr|ul"
_INLINES = (
    "a|abbr|b|big|button|center|cite|code|em|font|i|iframe|img|input|label|link|mark|meta|o:p|s|small|span|strike"
)
_INLINES += "|strong|sub|sup|u|video|wbr"

_HIDDEN = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>|<!--.*?-->|<!doctype[^>]*>", re.DOTALL | re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINES})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_MARKDOWN_LINK = re.compile(r"<(https?://[^\s<>]+)>")


def strip_markup(text: str) -> tuple[str, list[str]]:
    rules = []
    if "&" in text and (plain := _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)) != text:
        rules.append("entities")
        text = plain
    if "<" in text:
        plain = _INLINE_TAG.sub("", _BLOCK_TAG.sub("\n", _HIDDEN.sub("", text)))
        plain = _MARKDOWN_LINK.sub(r"\1", plain)
        if plain != text:
            rules.insert(0, "tags")
            text = plain.strip("\n")
    return text, rules
