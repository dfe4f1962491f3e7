"""What cleaning kept, changed and dropped, and why: one HTML page that needs nothing else, and the same as JSON.

Every label stands in Chinese and English, bars and flow are inline SVG, there is no script, and all values are escaped,
because examples are what customers wrote.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tulou.data.collect.files import MEDIA_TYPES

Summary = Mapping[str, Any]

_RULES = {
    "encoding.utf8_as_latin1": ("乱码：UTF-8 被当作 Latin-1", "mojibake: UTF-8 read as Latin-1"),
    "encoding.utf8_as_gbk": ("乱码：UTF-8 被当作 GBK", "mojibake: UTF-8 read as GBK"),
    "encoding.gbk_as_latin1": ("乱码：GBK 被当作 Latin-1", "mojibake: GBK read as Latin-1"),
    "markup.tags": ("网页标签", "HTML tags"),
    "markup.entities": ("网页实体", "HTML entities"),
    "characters.invisible": ("不可见字符", "invisible characters"),
    "characters.full_width": ("全角字符", "full-width characters"),
    "characters.composed": ("重音组合", "composed accents"),
    "space.collapsed": ("多余空白", "surplus white space"),
    "empty.no_text": ("空记录", "empty records"),
    "quality.too_short": ("过短", "too short"),
    "quality.symbols": ("大多是符号", "mostly symbols"),
    "quality.repetitive": ("重复内容", "the same over and over"),
    "spam.advertising": ("广告", "advertising"),
    "exact_duplicate.same_text": ("完全重复", "exact copies"),
    "exact_duplicate.other_label": ("文本相同而标签不同", "same text, other label"),
    "near_duplicate.near_copy": ("近似重复", "near copies"),
    "sensitive.PHONE_NUMBER": ("电话号码", "phone numbers"),
    "sensitive.EMAIL_ADDRESS": ("电子邮箱", "e-mail addresses"),
    "sensitive.CN_ID_CARD": ("身份证号", "identity cards"),
    "sensitive.CREDIT_CARD": ("银行卡号", "bank cards"),
    "sensitive.CN_PASSPORT": ("护照号", "passports"),
    "sensitive.CN_SOCIAL_CREDIT_CODE": ("统一社会信用代码", "social credit codes"),
    "sensitive.IBAN_CODE": ("国际银行账号", "IBANs"),
    "sensitive.US_SSN": ("美国社会安全号", "US social security numbers"),
    "sensitive.IP_ADDRESS": ("IP 地址", "IP addresses"),
    "sensitive.CN_LICENSE_PLATE": ("车牌号", "licence plates"),
    "sensitive.PERSON": ("姓名", "names of people"),
    "sensitive.LOCATION": ("地址", "postal addresses"),
    "sensitive.custom": ("自定义词", "listed words"),
}

_STYLE = """
:root{color-scheme:light
dark;--ink:#1d2126;--soft:#667078;--line:#e2e5e8;--page:#fafaf8;--card:#fff;--keep:#2f7d5b;--drop:#b4533c;
--change:#3b6ea5}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#98a1a9;--line:#31363b;--page:#16181a;--card:#1e2124;
--keep:#5cb58c;--drop:#dd8068;--change:#7aa9dc}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,"PingFang SC","Microsoft
YaHei","Noto Sans CJK SC","WenQuanYi Micro Hei",sans-serif}
main{max-width:1000px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:24px;margin:0 0 4px}
h2{font-size:19px;margin:0}
h3{font-size:14px;margin:22px 0 8px;color:var(--soft);font-weight:600}
.lead,.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:22px 24px;margin-top:22px}
svg{display:block;width:100%;height:auto}
svg text{font:13px system-ui,"PingFang SC","Microsoft YaHei","WenQuanYi Micro Hei",sans-serif;fill:var(--ink)}
svg .n{fill:var(--soft);font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;table-layout:fixed}
td,th{text-align:left;vertical-align:top;padding:7px 10px 7px 0;border-top:1px solid
var(--line);overflow-wrap:anywhere;white-space:pre-wrap}
th{color:var(--soft);font-weight:600;border-top:0;font-size:13px}
col.rule{width:24%}
.facts{display:flex;flex-wrap:wrap;gap:6px 28px;margin:10px 0 0;padding:0}
.facts div{min-width:90px}
.facts b{display:block;font-size:21px;font-variant-numeric:tabular-nums}
"""


def write_report(out_html: Path, out_json: Path, sources: Mapping[str, tuple[Summary, Summary]]) -> None:
    """Write the page and the JSON for `sources`: name to (collect's summary, clean's summary)."""
    for path in (out_html, out_json):
        path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        name: {"collect": dict(collected), "clean": dict(cleaned)} for name, (collected, cleaned) in sources.items()
    }
    out_json.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
    out_html.write_text(_page(sources), encoding="utf-8")


def rule_title(rule: str, language: str = "en") -> str:
    """What "step.rule" means, in words."""
    chinese, english = _RULES.get(rule, (rule, rule))
    return chinese if language == "zh" else english


def _page(sources: Mapping[str, tuple[Summary, Summary]]) -> str:
    sections = "".join(_section(name, collected, cleaned) for name, (collected, cleaned) in sources.items())
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>数据清洗报告 · Cleaning report</title><style>{_STYLE}</style></head><body><main>"
        "<h1>数据清洗报告 · Cleaning report</h1>"
        '<p class="lead">保留了什么、改了什么、剔除了什么，以及原因。 What was kept, changed and dropped, and why.</p>'
        f"{sections}</main></body></html>\n"
    )


def _section(name: str, collected: Summary, cleaned: Summary) -> str:
    dropped = sum(cleaned["dropped"].values())
    facts = [
        ("文件 · files", collected["files"]),
        ("记录 · records", cleaned["in"]),
        ("保留 · kept", cleaned["kept"]),
        ("剔除 · dropped", dropped),
        ("修改 · changes", sum(cleaned["changed"].values())),
    ]
    parts = [
        f"<section><h2>{_safe(name)}</h2>",
        '<div class="facts">',
        *(f'<div><b>{value:,}</b><span class="soft">{label}</span></div>' for label, value in facts),
        "</div>",
        "<h3>去向 · Where records went</h3>",
        _flow(cleaned),
    ]
    for title, counts, color in (
        ("剔除的原因 · Why records were dropped", cleaned["dropped"], "var(--drop)"),
        ("修改 · What was changed", cleaned["changed"], "var(--change)"),
        ("文件类型 · Records by file type", _by_ending(collected["by_media_type"]), "var(--soft)"),
    ):
        if counts:
            parts += [f"<h3>{title}</h3>", _bars(counts, color)]
    if collected["failed"]:
        rows = "".join(f"<tr><td>{_safe(f['uri'])}</td><td>{_safe(f['reason'])}</td></tr>" for f in collected["failed"])
        parts.append(f"<h3>未能读取 · Could not be used</h3><table><tbody>{rows}</tbody></table>")
    if cleaned["examples"]:
        parts += ["<h3>例子 · Examples</h3>", _examples(cleaned["examples"])]
    return "".join([*parts, "</section>"])


def _by_ending(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts under the file endings people know instead of media types."""
    endings = {media_type: suffix[1:] for suffix, media_type in reversed(MEDIA_TYPES.items())}
    return {endings.get(media_type, media_type): count for media_type, count in counts.items()}


def _flow(cleaned: Summary) -> str:
    """One bar as long as all records: what was dropped by each step, in order, and what was kept."""
    total = max(cleaned["in"], 1)
    by_step: dict[str, int] = {}
    for rule, count in cleaned["dropped"].items():
        step = rule.partition(".")[0]
        by_step[step] = by_step.get(step, 0) + count
    pieces = [("kept", cleaned["kept"], "var(--keep)", 1.0)]
    shades = (0.95, 0.75, 0.55, 0.4, 0.3, 0.22)
    for place, (step, count) in enumerate(sorted(by_step.items(), key=lambda item: -item[1])):
        pieces.append((step, count, "var(--drop)", shades[min(place, len(shades) - 1)]))
    x = 0.0
    shapes = []
    for label, count, color, opacity in pieces:
        width = 1000 * count / total
        tip = f"{label}: {count:,} ({count / total:.1%})"
        shapes.append(
            f'<rect x="{x:.1f}" y="0" width="{max(width - 1, 0.5):.1f}" height="26" fill="{color}" opacity="{opacity}">'
            f"<title>{_safe(tip)}</title></rect>"
        )
        x += width
    legend = " · ".join(f"{_safe(label)} {count:,} ({count / total:.1%})" for label, count, _, _ in pieces)
    return f'<svg viewBox="0 0 1000 26" role="img">{"".join(shapes)}</svg><p class="soft">{legend}</p>'


def _bars(counts: Mapping[str, int], color: str) -> str:
    largest = max(counts.values())
    rows = []
    for place, (rule, count) in enumerate(sorted(counts.items(), key=lambda item: -item[1])):
        y = place * 26
        chinese, english = _RULES.get(rule, (rule, ""))
        title = f"{chinese} · {english}" if english else chinese
        width = max(2.0, 480 * count / largest)
        rows.append(
            f'<text x="0" y="{y + 17}">{_safe(title[:60])}</text>'
            f'<rect x="420" y="{y + 5}" width="{width:.1f}" height="15" rx="2" fill="{color}"/>'
            f'<text class="n" x="{428 + width:.1f}" y="{y + 17}">{count:,}</text>'
        )
    return f'<svg viewBox="0 0 1000 {26 * len(counts)}" role="img">{"".join(rows)}</svg>'


def _examples(examples: list[dict[str, Any]]) -> str:
    rows = []
    for example in examples:
        rule = f"{example['step']}.{example['rule']}"
        chinese, english = _RULES.get(rule, (rule, ""))
        after = example["after"] or ""
        rows.append(
            f'<tr><td>{_safe(chinese)}<br><span class="soft">{_safe(english)}</span></td>'
            f"<td>{_safe(example['before'] or '')}</td><td>{_safe(after)}</td></tr>"
        )
    return (
        '<table><colgroup><col class="rule"><col><col></colgroup><thead><tr><th>规则 · Rule</th><th>之前 · Before</th>'
        f"<th>之后 · After</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _safe(text: object) -> str:
    return html.escape(str(text))
