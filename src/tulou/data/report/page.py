"""The report as one HTML page that needs nothing else: no script, no picture or font from elsewhere.

All values are escaped, and characters that cannot be seen or that turn the direction of writing are shown by their
numbers, because examples are what customers wrote.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import Any

from tulou.data.report.flow import NARROW, WIDE, flow_picture
from tulou.data.report.labels import LANGUAGES, RULES, STEPS, bilingual, file_ending
from tulou.data.report.style import STYLE

Source = Mapping[str, Any]  # {"collect": summary, "clean": summary, "seconds": {"collect", "clean"}}
Summary = Mapping[str, Any]

_FAILURES_SHOWN = 100
_TYPES_SHOWN = 12
_EXCERPT_CHARS = 160  # an example as long as this was cut off
_ISLAND = 3  # a stretch shorter than this that stayed the same between changes is shown as changed too
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufffe]+")
_MASK = re.compile(r"(\[[A-Za-z_]{2,40}(?::[^\[\]\s]{4,80})?\])")
_COPIES = ("exact_duplicate", "near_duplicate")


def page(sources: Mapping[str, Source]) -> str:
    """The whole page, for the summaries of collecting and cleaning each source."""
    links = "".join(f'<a href="#source-{place}">{_safe(name)}</a>' for place, name in enumerate(sources))
    sections = "".join(_section(place, name, source) for place, (name, source) in enumerate(sources.items()))
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>数据清洗报告 · Cleaning report</title><style>{STYLE}</style></head><body><main>"
        "<h1>数据清洗报告 · Cleaning report</h1>"
        '<p class="lead">保留了什么、改了什么、剔除了什么，以及原因。 What was kept, changed and dropped, and why.</p>'
        f"<nav>{links if len(sources) > 1 else ''}</nav>{_overview(sources)}{sections}</main></body></html>\n"
    )


def _overview(sources: Mapping[str, Source]) -> str:
    cleaned = [source["clean"] for source in sources.values()]
    total, kept = sum(each["in"] for each in cleaned), sum(each["kept"] for each in cleaned)
    facts = [
        ("来源 · sources", len(sources)),
        ("文件 · files", sum(source["collect"]["files"] for source in sources.values())),
        ("记录 · records", total),
        ("保留 · kept", kept),
        ("剔除 · dropped", total - kept),
        ("修改 · changes", sum(sum(each["changed"].values()) for each in cleaned)),
    ]
    dropped = [(bilingual(STEPS.get(step), step), count) for step, count in _dropped_by_step(cleaned)]
    given = {name: source["clean"]["in"] for name, source in sources.items()}
    pictures = "".join(
        flow_picture(given, kept, dropped, shape).replace('class="flow"', f'class="flow {name}"')
        for name, shape in (("wide", WIDE), ("narrow", NARROW))
    )
    story = '<p class="soft">一条记录的经过 · one record\'s story: <code>tulou explain --record ID</code></p>'
    return f"<section><h2>去向 · Where records went</h2>{_facts(facts)}{pictures if total else ''}{story}</section>"


def _dropped_by_step(cleaned: Iterable[Summary]) -> list[tuple[str, int]]:
    """Steps that dropped records, in the order in which they stand, copies last."""
    counts: Counter[str] = Counter()
    order: dict[str, None] = {}
    for summary in cleaned:
        order |= dict.fromkeys(step["name"] for step in summary.get("steps", ()))
        for rule, count in summary["dropped"].items():
            counts[rule.partition(".")[0]] += count
    order = {step: None for step in (*order, *counts) if step not in _COPIES} | dict.fromkeys(_COPIES)
    return [(step, counts[step]) for step in order if counts[step]]


def _section(place: int, name: str, source: Source) -> str:
    collected, cleaned = source["collect"], source["clean"]
    seconds = source.get("seconds", {}).get("clean", 0.0)
    facts = [
        ("文件 · files", collected["files"]),
        ("记录 · records", cleaned["in"]),
        ("保留 · kept", cleaned["kept"]),
        ("剔除 · dropped", cleaned["in"] - cleaned["kept"]),
        ("修改 · changes", sum(cleaned["changed"].values())),
    ]
    remark = f'<p class="soft">{_safe(collected["remark"])}</p>' if collected.get("remark") else ""
    parts = [
        f'<section id="source-{place}"><h2>{_safe(name)}</h2>{_facts(facts)}{remark}',
        _rules("剔除的原因 · Why records were dropped", "dropped", cleaned),
        _rules("修改 · What was changed", "changed", cleaned),
        _rules("只报告，未修改 · What was reported and left as it was", "reported", cleaned),
        _copies(cleaned.get("copies", {})),
        _distributions(collected, cleaned),
        _failures(collected["failed"]),
        _costs(cleaned, seconds),
        "</section>",
    ]
    return "".join(parts)


def _facts(facts: Iterable[tuple[str, int]]) -> str:
    shown = (f"<div><b>{value:,}</b><span>{label}</span></div>" for label, value in facts)
    return f'<div class="facts">{"".join(shown)}</div>'


_COLORS = {"dropped": "drop", "changed": "change", "reported": "plain"}


def _rules(title: str, action: str, cleaned: Summary) -> str:
    """Each rule with how many records it touched, and its examples below."""
    counts = cleaned.get(action, {})
    if not counts:
        return ""
    largest, total = max(counts.values()), max(1, cleaned["in"])
    parts = [f"<h3>{title}</h3>"]
    for rule, count in sorted(counts.items(), key=lambda item: -item[1]):
        examples = [e for e in cleaned["examples"] if f"{e['step']}.{e['rule']}" == rule]
        if rule in cleaned["dropped"] and rule in cleaned["changed"]:  # with a text after are those that were kept
            examples = [e for e in examples if (e["after"] is None) == (action == "dropped")]
        shown = "".join(_example(example, is_dropped=action == "dropped") for example in examples)
        parts.append(
            f"<details open><summary><span>{_safe(bilingual(RULES.get(rule), rule))}<code>{_safe(rule)}</code></span>"
            f"{_bar(count / largest, _COLORS[action])}"
            f'<span class="n">{count:,} · {count / total:.1%}</span></summary>{shown}</details>'
        )
    return "".join(parts)


def _example(example: Mapping[str, Any], *, is_dropped: bool) -> str:
    before, after = example["before"] or "", example["after"]
    if is_dropped:
        title = "留下的是 · kept instead" if example["step"] in _COPIES else "因为 · because of"
        remark = f"<b>{title}: <code>{_safe(after)}</code></b>" if after else ""
        shown = remark + _safe(before.strip())
        return f'<div class="pair"><div class="one">{shown}</div></div>' if shown else ""
    after = after or ""
    if before == after:  # a sensitive value is masked in both
        masked = [(text, place % 2 == 1) for place, text in enumerate(_MASK.split(after))]
        return f'<div class="pair"><div class="one">{_highlighted(masked)}</div></div>'
    left, right = changed_parts(before, after)
    return (
        f'<div class="pair"><div><b>之前 · before</b>{_highlighted(left)}</div>'
        f"<div><b>之后 · after</b>{_highlighted(right)}</div></div>"
    )


Parts = list[tuple[str, bool]]  # stretches of a text, and whether each is what changed


def changed_parts(before: str, after: str) -> tuple[Parts, Parts]:
    """Both texts in stretches, those that differ marked. Where an excerpt was cut off, its end does not count."""
    left: Parts = []
    right: Parts = []
    is_cut = max(len(before), len(after)) >= _EXCERPT_CHARS
    steps = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    for kind, a, a_end, b, b_end in steps:
        is_last = a_end == len(before) and b_end == len(after)
        if is_last and is_cut:
            kind = "equal"
        is_island = kind == "equal" and a_end - a < _ISLAND and a > 0 and not is_last
        for parts, text in ((left, before[a:a_end]), (right, after[b:b_end])):
            is_changed = kind != "equal" or is_island
            if text and parts and parts[-1][1] == is_changed:
                parts[-1] = (parts[-1][0] + text, is_changed)
            elif text:
                parts.append((text, is_changed))
    return left, right


def _highlighted(parts: Parts) -> str:
    return "".join(f"<mark>{_safe(text)}</mark>" if is_changed else _safe(text) for text, is_changed in parts)


def _copies(copies: Mapping[str, int]) -> str:
    if not copies.get("exact") and not copies.get("near"):
        return ""
    facts = [
        ("完全重复 · exact", copies["exact"]),
        ("近似重复 · near", copies["near"]),
        ("组 · clusters", copies["clusters"]),
        ("比较过的对 · pairs compared", copies["pairs"]),
    ]
    return f"<h3>重复 · Copies <small>每组留下一条 · one of each cluster stays</small></h3>{_facts(facts)}"


def _distributions(collected: Summary, cleaned: Summary) -> str:
    types = Counter[str]()
    for media_type, count in collected["by_media_type"].items():
        types[file_ending(media_type)] += count
    languages = {bilingual(LANGUAGES.get(name), name): count for name, count in cleaned.get("languages", {}).items()}
    rows = cleaned.get("lengths", [])
    lengths = {_between(row["from"], row["to"]): row["records"] for row in _trimmed(rows)}
    parts = (
        ("语言 · Language <small>保留的 · kept</small>", languages),
        ("长度（字符） · Characters <small>保留的 · kept</small>", lengths),
        ("文件类型 · File type <small>收到的 · collected</small>", dict(types.most_common(_TYPES_SHOWN))),
    )
    columns = "".join(f"<div><h3>{title}</h3>{_bars(counts)}</div>" for title, counts in parts if counts)
    return f'<div class="columns">{columns}</div>' if columns else ""


def _trimmed(rows: Sequence[Mapping[str, int]]) -> Sequence[Mapping[str, int]]:
    """Without the empty classes at both ends."""
    filled = [place for place, row in enumerate(rows) if row["records"]]
    return rows[filled[0] : filled[-1] + 1] if filled else []


def _between(low: int, high: int) -> str:
    return f"{low:,}–{high - 1:,}" if high < 1 << 31 else f"{low:,}+"


def _bars(counts: Mapping[str, int]) -> str:
    largest, total = max([1, *counts.values()]), max(1, sum(counts.values()))
    rows = (
        f"<div><span>{_safe(name)}</span>{_bar(count / largest, 'plain')}"
        f'<span class="n">{count:,} · {count / total:.0%}</span></div>'
        for name, count in counts.items()
    )
    return f'<div class="bars">{"".join(rows)}</div>'


def _bar(share: float, color: str) -> str:
    width = f"{max(0.0, share):.1%}" if share else "0;min-width:0"
    return f'<span class="bar"><i class="{color}" style="width:{width}"></i></span>'


def _failures(failed: Sequence[Mapping[str, str]]) -> str:
    if not failed:
        return ""
    rows = "".join(
        f"<tr><td><code>{_safe(each['uri'])}</code></td><td>{_safe(each['reason'])}</td></tr>"
        for each in failed[:_FAILURES_SHOWN]
    )
    more = len(failed) - _FAILURES_SHOWN
    rest = f'<p class="soft">还有 {more:,} 个，见 JSON · {more:,} more in the JSON</p>' if more > 0 else ""
    return f"<h3>未能读取 · Could not be used ({len(failed):,})</h3><table><tbody>{rows}</tbody></table>{rest}"


def _costs(cleaned: Summary, seconds: float) -> str:
    steps = cleaned.get("steps", [])
    total = sum(step["seconds"] for step in steps)
    if not total:
        return ""
    rows = "".join(
        f'<tr><td>{_safe(bilingual(STEPS.get(step["name"]), step["name"]))}</td><td class="n">{step["in"]:,}</td>'
        f'<td class="n">{step["out"]:,}</td><td class="n">{step["seconds"]:.2f}</td><td class="n">{_rate(step)}</td>'
        f'<td class="share">{_bar(step["seconds"] / total, "plain")}</td></tr>'
        for step in steps
    )
    whole = f" · 共用时 {seconds:,.1f} 秒 · {seconds:,.1f} s from start to end" if seconds else ""
    return (
        f"<h3>每步的代价 · Cost of each step <small>所有进程合计 · of all processes together{whole}</small></h3>"
        '<div class="scroll"><table><thead><tr><th>步骤 · step</th>'
        '<th class="n">进 · in</th><th class="n">出 · out</th>'
        '<th class="n">秒 · s</th><th class="n">条/秒 · per s</th><th class="share">占比 · share</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _rate(step: Mapping[str, Any]) -> str:
    return f"{step['in'] / step['seconds']:,.0f}" if step["seconds"] >= 0.001 else "—"


def _safe(text: object) -> str:
    return _UNSEEN.sub(_numbers, escape(str(text)))


def _numbers(found: re.Match[str]) -> str:
    shown = " ".join(f"{ord(char):02X}" for char in found[0][:8])
    return f'<span class="unseen" title="U+{shown}">⟨{shown}⟩</span>'
