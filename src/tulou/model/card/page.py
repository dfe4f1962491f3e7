"""The model card as one HTML page that needs nothing else: no script, no picture or font from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tulou.model.card.parts import facts, number, percent, safe, section, table
from tulou.model.card.passport import passport_section
from tulou.model.card.pictures import confusion, reliability
from tulou.model.card.style import STYLE
from tulou.model.compress.picture import pareto_picture

Card = Mapping[str, Any]


def page(card: Card) -> str:
    results, passport = card.get("results") or {}, card.get("passport")
    parts = [
        _warnings(passport),
        _results(results),
        _retrieval(results.get("retrieval")),
        _weak(results),
        passport_section(passport),
        _compression(card.get("compression") or {}),
        _parity(card.get("parity") or []),
        _data(card.get("data") or {}),
        _budget(card.get("budget") or []),
        _settings(card),
    ]
    name = safe(card["name"])
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name} · 模型卡 · Model card</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{name} · 模型卡 · Model card</h1>"
        f'<p class="soft">{safe(card["task"])} · {safe(card["base"])} · <code>{safe(card["fingerprint"])}</code></p>'
        f"{''.join(parts)}</main></body></html>\n"
    )


def _warnings(passport: Card | None) -> str:
    if not passport or not passport["warnings"]:
        return ""
    lines = "".join(f"<li>{safe(line)}</li>" for line in passport["warnings"])
    return section("请留意 · Look at this", f"<ul>{lines}</ul>", style="warn")


def _results(results: Card) -> str:
    interval = results.get("accuracy_interval")
    calibration = results.get("calibration")
    grounded = results.get("groundedness") or {}
    shown = facts([
        ("准确率 · accuracy", percent(results.get("accuracy"))),
        ("95 % 区间 · 95 % interval", f"{interval[0]:.1%} – {interval[1]:.1%}" if interval else None),
        ("宏平均 F1 · macro-F1", number(results.get("macro_f1"))),
        ("校准误差 · calibration error", number(calibration["expected_calibration_error"]) if calibration else None),
        ("困惑度 · perplexity", number(results.get("perplexity"), 2)),
        ("下一词元准确率 · next-token accuracy", percent(results.get("token_accuracy"))),
        ("有据的句子 · grounded sentences", percent(grounded.get("grounded_sentence_share"))),
        ("有据的回答 · grounded answers", percent(grounded.get("grounded_answer_share"))),
        ("行 · rows", f"{results['rows']:,}" if "rows" in results else None),
        ("对话 · conversations", f"{results['conversations']:,}" if "conversations" in results else None),
    ])  # fmt: skip
    pictures = ""
    if calibration:
        pictures += f"<div><h3>可靠性 · Reliability</h3>{reliability(calibration['bins'])}</div>"
    if results.get("labels"):
        pictures += f"<div>{_labels(results['labels'])}</div>"
    columns = f'<div class="columns">{pictures}</div>' if pictures else ""
    matrix = results.get("confusion")
    picture = f"<h3>混淆矩阵 · Confusion</h3>{confusion(matrix)}" if matrix else ""
    if matrix and matrix["labels_left_out"]:
        picture += (
            f'<p class="soft">另有 {matrix["labels_left_out"]} 个标签 · {matrix["labels_left_out"]} more labels</p>'
        )
    return section("结果 · Results", shown, _segments(results.get("by_segment") or {}), columns, picture)


def _segments(segments: Card) -> str:
    parts = []
    for column, values in segments.items():
        figures = [key for key in next(iter(values.values()), {}) if key in _SEGMENT_FIGURES]
        rows = [[value, *(_SEGMENT_FIGURES[key][1](row[key]) for key in figures)] for value, row in values.items()]
        heads = [f">{_SEGMENT_FIGURES[key][0]}" for key in figures]
        if column == "language":
            parts.append(table("按语言 · By language", ["语言 · language", *heads], rows))
        else:
            parts.append(table(f"按 {safe(column)} · By {safe(column)}", [safe(column), *heads], rows))
    return "".join(parts)


_SEGMENT_FIGURES: dict[str, tuple[str, Callable[[Any], str | None]]] = {
    "rows": ("行 · rows", lambda value: f"{value:,}"),
    "conversations": ("对话 · conversations", lambda value: f"{value:,}"),
    "questions": ("问题 · questions", lambda value: f"{value:,}"),
    "accuracy": ("准确率 · accuracy", percent),
    "macro_f1": ("宏平均 F1 · macro-F1", number),
    "perplexity": ("困惑度 · perplexity", lambda value: number(value, 2)),
    "token_accuracy": ("下一词元准确率 · next-token accuracy", percent),
    "mrr": ("平均倒数排名 · MRR", number),
}


def _labels(labels: Card) -> str:
    rows = [
        [label, f"{row['rows']:,}", percent(row["precision"]), percent(row["recall"]), number(row["f1"])]
        for label, row in sorted(labels.items(), key=lambda item: item[1]["f1"])
    ]
    return table(
        "标签 · Labels", ["标签 · label", ">行 · rows", ">精确率 · precision", ">召回率 · recall", ">F1"], rows
    )


def _retrieval(found: Card | None) -> str:
    if not found:
        return ""
    shown = facts([
        ("问题 · questions", f"{found['questions']:,}"),
        *((f"hit@{k}", percent(share)) for k, share in found["hit_rate"].items()),
        ("平均倒数排名 · MRR", number(found["mrr"])),
        *((f"nDCG@{k}", number(share)) for k, share in found["ndcg"].items() if k != "1"),
    ])  # fmt: skip
    missed = "".join(f"<li>{safe(question)}</li>" for question in found["missed"])
    misses = f"<h3>没有找到 · Not found</h3><ul>{missed}</ul>" if missed else ""
    return section("检索 · Retrieval", shown, _segments({"language": found["by_language"]}), misses)


def _weak(results: Card) -> str:
    mistakes = [
        [f"{each['label']} → {each['predicted']}", each["count"], row["text"], percent(row["confidence"], 0), row["id"]]
        for each in results.get("mistakes", ())
        for row in each["examples"]
    ]
    hardest = [[row["question"], row["answer"], number(row["perplexity"], 1)] for row in results.get("hardest", ())]
    ungrounded = [[row["sentence"], row["id"]] for row in (results.get("groundedness") or {}).get("ungrounded", ())]
    return section(
        "不擅长什么 · What it is bad at",
        table(
            "最常混淆 · Mistaken most",
            ["错认 · wrong", ">次 · times", "文本 · text", ">把握 · sure", "行 · row"],
            mistakes,
        ),
        table("最难的回答 · Hardest answers", ["问题 · question", "回答 · answer", ">困惑度 · perplexity"], hardest),
        table("没有依据的句子 · Sentences without ground", ["句子 · sentence", "行 · row"], ungrounded),
    )


def _quality(made: Card) -> str:
    kind = "accuracy" if any("accuracy" in row for row in made.get("table", ())) else "token_accuracy"
    return _SEGMENT_FIGURES[kind][0]


def _compression(made: Card) -> str:
    rows = [
        [
            row["precision"] + (" ✓" if row["precision"] == made["chosen"] else ""),
            f"{row['size_bytes'] / 1e6:,.1f}",
            f"{row['latency_ms_p50']:,.2f}",
            percent(row["accuracy"]) if "accuracy" in row else percent(row.get("token_accuracy")) or "",
        ]
        for row in made.get("table", ())
    ]
    picture = ""
    if len(rows) > 1 and "front" in made:
        drawn = pareto_picture(made["table"], made["front"], made["chosen"], made["max_accuracy_loss"])
        picture = f'<div class="search">{drawn}</div><p class="soft">{_PARETO}</p>'
    missing = "".join(
        f"<li><b>{safe(each['precision'])}</b>: {safe(each['reason'])}</li>" for each in made.get("left_out", ())
    )
    return section(
        "压缩 · Compression",
        table("", ["精度 · precision", ">MB", ">ms p50", f">{_quality(made)}"], rows),
        f'<p class="soft">{safe(made["reason"])}</p>' if rows else "",
        picture,
        f"<h3>没有采用的方法 · Methods left out</h3><ul>{missing}</ul>" if missing else "",
    )


_PARETO = (
    "面积是大小，绿色的没有被别的全面超过，红圈是正在服务的，底色带是允许的损失 · the area is the size; green ones are "
    "beaten by no other; the ring is what serves; the band is the loss that is allowed"
)


def _parity(figures: Any) -> str:
    rows = [
        [
            each["precision"],
            each["probes"],
            f"{each['logit_difference']:.2g}",
            percent(each["same_labels"]) if "same_labels" in each else each.get("same_greedy", ""),
            _alike(each),
        ]
        for each in figures
    ]
    columns = [
        "精度 · precision",
        ">样例 · probes",
        ">logit 之差 · logit difference",
        ">同标签或回答 · same labels or answers",
        ">余弦或同词 · cosine, or same next tokens",
    ]
    return section("训练与服务一致 · Served as trained", table("", columns, rows))


def _alike(figures: Card) -> str:
    """A reranker has neither, only its logits."""
    if "mean_cosine" in figures:
        return f"{figures['mean_cosine']:.3%}"
    return f"{figures['same_next_token']}/{figures['positions']}" if "positions" in figures else ""


_SPLITS = {"train": "训练 · train", "validation": "验证 · validation", "test": "测试 · test"}


def _data(data: Card) -> str:
    splits = facts(
        [(_SPLITS.get(name, safe(name)), f"{count:,}") for name, count in (data.get("splits") or {}).items()]
    )
    languages = ", ".join(f"{safe(name)} {count:,}" for name, count in (data.get("languages") or {}).items())
    sources = [
        [name, f"{each['in']:,}", f"{each['kept']:,}", each["fingerprint"]]
        for name, each in (data.get("sources") or {}).items()
    ]
    cleaned = data.get("cleaning") or {}
    rules = [[rule, f"{count:,}"] for rule, count in (cleaned.get("rules") or {}).items()]
    told = (
        f'<p class="soft">{cleaned["records"]:,} 条训练记录，其中 {cleaned["touched"]:,} 条被清洗改动 · '
        f"{cleaned['records']:,} training records, {cleaned['touched']:,} of them changed by cleaning; "
        "<code>tulou explain --record ID</code></p>"
        if cleaned
        else ""
    )
    return section(
        "数据 · Data",
        splits,
        f'<p class="soft">{languages}</p>' if languages else "",
        table("来源 · Sources", ["来源 · source", ">记录 · records", ">保留 · kept", "指纹 · fingerprint"], sources),
        table("清洗 · What cleaning did to the training records", ["规则 · rule", ">次 · times"], rules),
        told,
        table("指纹 · Fingerprints", ["阶段 · stage", "指纹 · fingerprint"], (data.get("fingerprints") or {}).items()),
    )


def _budget(rows: Any) -> str:
    shown = [
        [
            row["stage"],
            number(row.get("predicted_s"), 1) or "–",
            number(row["seconds"], 1),
            f"{row['deviation']:+.0%}" if row.get("deviation") is not None else "–",
            f"{row['predicted_bytes'] / 1e9:.2f}" if row.get("predicted_bytes") else "–",
            f"{row.get('own_bytes', row['peak_rss_bytes']) / 1e9:.2f}",
        ]
        for row in rows
    ]
    columns = [
        "阶段 · stage",
        ">预计 s · predicted",
        ">实际 s · took",
        ">偏差 · off",
        ">预计 GB · predicted",
        ">占用 GB · held",
    ]
    return section("预算与实际 · Predicted and actual", table("", columns, shown))


def _settings(card: Card) -> str:
    if not card.get("settings"):
        return ""
    shown = safe(json.dumps(card["settings"], ensure_ascii=False, indent=1))
    return section("设置 · Settings", f"<details><summary>TOML → JSON</summary><pre>{shown}</pre></details>")
