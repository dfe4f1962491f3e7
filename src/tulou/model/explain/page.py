"""An explanation as one HTML page that needs nothing else: the text with its words coloured, and the rows like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tulou.model.card.parts import table
from tulou.model.card.style import TABLE

_STYLE = (
    """
:root{color-scheme:light dark;--ink:#1d2126;--soft:#66707a;--line:#e3e6e9;--page:#fff;--for:47,125,91;
--against:180,83,60}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#98a1a9;--line:#31363b;--page:#16181a;
--for:79,168,127;--against:208,117,95}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.7 system-ui,
"PingFang SC","Microsoft YaHei","Noto Sans CJK SC","WenQuanYi Micro Hei",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:32px 20px}
h1{font-size:20px;overflow-wrap:anywhere}h3{font-size:15px;color:var(--soft);margin:26px 0 6px}
.text{font-size:19px;line-height:2;white-space:pre-wrap;overflow-wrap:anywhere}
.text span{border-radius:3px;padding:2px 0}
.for{background:rgba(var(--for),var(--much))}.against{background:rgba(var(--against),var(--much))}
.soft{color:var(--soft);font-size:13px}
"""
    + TABLE
)


def explanation_page(found: Mapping[str, Any]) -> str:
    """`found` is what `tulou explain TEXT --json` says."""
    told = found.get("classification")
    parts = [_classified(told) if told else _asked(found), _rows(found.get("neighbours", ())), _passages(found)]
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>tulou explain</title><style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def highlighted(text: str, tokens: Sequence[Mapping[str, Any]]) -> str:
    """`text` with each token's score as the strength of its colour; what no token covers is left plain."""
    most = max((abs(token["score"]) for token in tokens), default=0.0) or 1.0
    parts, place = [], 0
    for token in sorted(tokens, key=lambda token: token["start"]):
        if token["start"] < place or token["start"] == token["end"]:
            continue
        parts.append(escape(text[place : token["start"]]))
        style = "for" if token["score"] >= 0 else "against"
        parts.append(
            f'<span class="{style}" style="--much:{abs(token["score"]) / most * 0.7:.2f}" '
            f'title="{token["score"]:+.3f}">{escape(text[token["start"] : token["end"]])}</span>'
        )
        place = token["end"]
    return "".join(parts) + escape(text[place:])


def _asked(found: Mapping[str, Any]) -> str:
    return f'<p class="text">{escape(found["text"])}</p>' if found.get("text") else ""


def _classified(found: Mapping[str, Any]) -> str:
    return (
        f"<h1>{escape(found['label'])} · {found['probability']:.1%}</h1>"
        f'<p class="text">{highlighted(found["text"], found["tokens"])}</p>'
        f'<p class="soft">logit {found["logit"]:.3f}, of padding {found["baseline_logit"]:.3f}; the scores miss the '
        f"difference by {found['completeness_error']:+.4f} ({found['relative_error']:.2%}), {found['steps']} steps</p>"
    )


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [[f"{row['cosine']:.3f}", row["label"], row["text"], row["document_id"]] for row in rows]
    columns = [">余弦 · cosine", "标签 · label", "训练行 · training row", "记录 · record"]
    return table("训练集中最近的 · Nearest training rows", columns, shown)


def _passages(found: Mapping[str, Any]) -> str:
    """As the terminal shows them, whole; and why there are none, where that is known."""
    shown = [
        [
            f"{hit['score']:.4f}", f"{hit['cosine']:.2f}", f"{hit['lexical']:.2f}",
            f"{hit['heading'] or hit['title']}: {hit['text']}", hit["uri"],
        ]
        for hit in found.get("passages", ())
    ]  # fmt: skip
    title = "找到的段落 · Passages found"
    if not shown and (reason := found.get("no_passages_because")):
        return f'<h3>{title}</h3><p class="soft">{escape(reason)}</p>'
    columns = [">得分 · score", ">余弦 · cosine", ">词 · words", "段落 · passage", "资料 · document"]
    return table(title, columns, shown)
