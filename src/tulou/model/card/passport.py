"""The card's overfit passport: what the model learnt by heart, and the curves of every stage in which it learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tulou.model.card.parts import facts, number, percent, section, table
from tulou.model.card.pictures import curves

Card = Mapping[str, Any]

_STAGES = {  # by what comes before the model's name
    "pretrain": "预训练 · Pretraining",
    "finetune": "微调 · Fine-tuning",
    "prefer": "偏好 · Preferences",
    "train": "训练 · Training",
}
_CURVES = {"loss": "训练损失 · training loss", "validation_loss": "验证损失 · validation loss"}
_ACCURACY = {"validation_accuracy": "验证准确率 · validation accuracy"}


def passport_section(passport: Card | None) -> str:
    if not passport:
        return ""
    gap, kept, variety = passport["gap"] or {}, passport["memorisation"], passport["diversity"]
    shown = facts([
        ("训练行损失 · loss on training rows", number(gap.get("train_loss"))),
        ("未见行损失 · on held-out rows", number(gap.get("held_out_loss"))),
        ("准确率之差 · accuracy gap", percent(gap.get("accuracy_gap"))),
        ("成员推断 AUC · membership AUC", number(gap.get("membership_auc"), 2)),
        ("金丝雀 · canary exposure", f"{kept['exposure_bits']:.1f} / {kept['most_bits']:.1f} bit" if kept else None),
        ("未记住时 · if nothing was kept", f"{kept['expected_bits']:.1f} bit" if kept else None),
        ("背下的 · learnt by heart", f"{kept['learnt_by_heart']} / {kept['planted']}" if kept else None),
    ])  # fmt: skip
    diversity = facts([
        ("压缩比 · compression ratio", number(variety["compression_ratio"], 1)),
        ("不重复的词 · distinct-1", number(variety["distinct_1"])),
        ("不重复的二连 · distinct-2", number(variety["distinct_2"])),
        ("不重复的四连 · distinct-4", number(variety["distinct_4"])),
        ("自相似 · self-similarity", number(variety["self_similarity"])),
        ("标签熵 · label entropy", percent(variety["labels"]["entropy_share"]) if "labels" in variety else None),
    ])  # fmt: skip
    overlaps = [
        [
            name,
            f"{each['questions']:,}",
            each["identical"],
            each["copied"],
            each["suspect"],
            percent(each["mean_share"]),
        ]
        for name, each in passport["contamination"].items()
    ]
    examples = [
        [name, row["question"], row["text"], percent(row["share"], 0)]
        for name, each in passport["contamination"].items()
        for row in each["examples"][:3]
    ]
    return section(
        "过拟合护照 · Overfit passport",
        shown,
        _learning(passport),
        table(
            "训练集里的考题 · Exam in the training set",
            ["", ">行 · rows", ">相同 · identical", ">照抄 · copied", ">过半 · half", ">平均 · mean share"],
            overlaps,
        ),
        table("", ["", "考题 · question", "训练行 · training row", ">重合 · share"], examples),
        f"<h3>训练集的多样性 · Diversity of the training set</h3>{diversity}",
    )


def _learning(passport: Card) -> str:
    """A picture for each stage in which the model learnt, the step whose weights were kept marked in it."""
    last = {"stage": passport.get("stage", ""), **passport["curve"]}
    stages = [stage for stage in (*passport.get("before", ()), last) if stage["points"]]
    pictures = ""
    for stage in stages:
        name = _STAGES.get(stage["stage"].partition(".")[0], "")
        drawn = "".join(
            f"<div>{curves(stage['points'], names, kept=stage['best_step'])}</div>"
            for names in (_CURVES, _ACCURACY)
            if any(key in point for point in stage["points"] for key in names)
        )
        heading = f"<h3>{name}</h3>" if len(stages) > 1 else ""
        pictures += f'{heading}<div class="columns">{drawn}</div>'
    floor = passport["curve"].get("smoothed_floor")
    if not pictures or floor is None:
        return pictures
    return (
        f'{pictures}<p class="soft">训练损失带标签平滑，最低只能到 {floor:.2f}；上面的损失不带 · the training loss has '
        f"label smoothing in it and cannot fall below {floor:.2f}; the losses above have none</p>"
    )
