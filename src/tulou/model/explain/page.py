"""An explanation as one HTML page that needs nothing else: the text with its words coloured, and the rows like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2126;--soft:#66707a;--page:#fff;--for:47,125,91;--against:180,83,60}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#98a1a9;--page:#16181a;
--for:79,168,127;--against:208,117,95}}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.7 system-ui,
"PingFang SC","Microsoft YaHei",sans-serif}
main{max-width:760px;margin:0 auto;padding:32px 20px}h1{font-size:20px}h2{font-size:15px;color:var(--soft)}
.text{font-size:19px;line-height:2;white-space:pre-wrap;overflow-wrap:anywhere}
.text span{border-radius:3px;padding:2px 0}
.for{background:rgba(var(--for),var(--much))}.against{background:rgba(var(--against),var(--much))}
p.soft,td.soft{color:var(--soft);font-size:13px}table{border-collapse:collapse;width:100%;font-size:14px}
td{padding:5px 12px 5px 0;vertical-align:top;border-top:1px solid rgba(128,128,128,.25);overflow-wrap:anywhere}
"""


def explanation_page(found: Mapping[str, Any]) -> str:
    """`found` is what `tulou explain TEXT --json` says."""
    parts = [_classified(found.get("classification")), _rows(found.get("neighbours", ())), _passages(found)]
    return (
        '<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
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


def _classified(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    return (
        f"<h1>{escape(found['label'])} · {found['probability']:.1%}</h1>"
        f'<p class="text">{highlighted(found["text"], found["tokens"])}</p>'
        f'<p class="soft">logit {found["logit"]:.3f}, of padding {found["baseline_logit"]:.3f}; the scores miss the '
        f"difference by {found['completeness_error']:+.4f} ({found['relative_error']:.2%}), {found['steps']} steps</p>"
    )


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{row['cosine']:.3f}</td><td>{escape(row['label'])}</td><td>{escape(row['text'])}</td>"
        f'<td class="soft">{escape(row["document_id"])}</td></tr>'
        for row in rows
    )
    return f"<h2>训练集中最近的 · Nearest training rows</h2><table>{body}</table>"


def _passages(found: Mapping[str, Any]) -> str:
    rows = found.get("passages", ())
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{row['cosine']:.2f} / {row['lexical']:.2f}</td><td>{escape(row['heading'] or row['title'])}</td>"
        f'<td>{escape(row["text"])}</td><td class="soft">{escape(row["uri"])}</td></tr>'
        for row in rows
    )
    return f"<h2>找到的段落（向量 / 词） · Passages found (vector / words)</h2><table>{body}</table>"
