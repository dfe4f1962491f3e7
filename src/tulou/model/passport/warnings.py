"""What in a passport a person should look at, each with its number and the limit that it crosses.

Canaries that were learnt by heart are a warning where somebody could ask for them: of a model that writes. A classifier
names labels only, and learns a row by heart that it sees for some epochs; its figure is told without a warning.

Limits of diversity were measured on samples of 10,000 tokens: tickets and questions of people (BANKING77, the sample
shop, either language alone) compress to 1/2.6 to 1/3.9 and have 0.56 to 0.89 distinct runs of four; the same with 100
sentences repeated under other numbers gives 8.0 and 0.21, with 20 sentences 12 and 0.12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_COMPRESSION = 6.0
MIN_DISTINCT_4 = 0.4
MAX_SELF_SIMILARITY = 0.15  # people's questions reach 0.04, one template with filled slots 0.31
MIN_LABEL_ENTROPY = 0.7  # of that of equal shares; both data sets above have 0.99
MIN_LABEL_ROWS = 10  # what "few-shot" still means in Casanueva et al. 2020
MAX_ACCURACY_GAP = 0.1
MAX_MEMBERSHIP_AUC = 0.75  # half way from telling nothing to telling everything
MAX_RISE = 0.1  # of the validation loss after its best step
MIN_GROUNDED = 0.7  # of the sentences that a model writes; a reader of three then meets one that nothing supports


def find_warnings(passport: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    _narrow(passport["diversity"], found)
    _overfitted(passport, found)
    _contaminated(passport["contamination"], found)
    return found


def find_ungrounded(results: Mapping[str, Any]) -> list[str]:
    """The same of what a chat model scored on held-out rows."""
    figures = results.get("groundedness") or {}
    share = figures.get("grounded_sentence_share")
    if share is None or share >= MIN_GROUNDED:
        return []
    return [
        f"{share:.0%} of the sentences that it writes are supported by the passages shown to it "
        f"({figures['grounded_sentences']:,} of {figures['sentences']:,}, limit {MIN_GROUNDED:.0%})"
    ]


def _narrow(figures: Mapping[str, Any], found: list[str]) -> None:
    if (ratio := figures["compression_ratio"] or 0.0) > MAX_COMPRESSION:
        found.append(
            f"the training set is narrow: it compresses to 1/{ratio:.1f}, people's own words to about 1/3 "
            f"(limit 1/{MAX_COMPRESSION:g}); it repeats few sentences"
        )
    if (distinct := figures["distinct_4"]) is not None and distinct < MIN_DISTINCT_4:
        found.append(
            f"the training set is narrow: {distinct:.0%} of its runs of four words are different "
            f"(limit {MIN_DISTINCT_4:.0%})"
        )
    if (alike := figures["self_similarity"] or 0.0) > MAX_SELF_SIMILARITY:
        found.append(f"two training texts share {alike:.0%} of their word pairs (limit {MAX_SELF_SIMILARITY:.0%})")
    if not (labels := figures.get("labels")):
        return
    if labels["entropy_share"] < MIN_LABEL_ENTROPY:
        found.append(
            f"labels are uneven: their entropy is {labels['entropy_share']:.0%} of that of equal shares "
            f"(limit {MIN_LABEL_ENTROPY:.0%}); {labels['commonest']!r} has {labels['commonest_rows']:,} rows"
        )
    if labels["rarest_rows"] < MIN_LABEL_ROWS:
        found.append(f"label {labels['rarest']!r} has {labels['rarest_rows']} training rows (limit {MIN_LABEL_ROWS})")


def _overfitted(passport: Mapping[str, Any], found: list[str]) -> None:
    gap = passport["gap"]
    if gap and gap["accuracy_gap"] > MAX_ACCURACY_GAP:
        found.append(
            f"the model is right on {gap['train_accuracy']:.1%} of training rows and {gap['held_out_accuracy']:.1%} "
            f"of others: a gap of {gap['accuracy_gap']:.1%} (limit {MAX_ACCURACY_GAP:.0%})"
        )
    if gap and gap["membership_auc"] > MAX_MEMBERSHIP_AUC:
        found.append(
            f"training rows can be told from others by their loss in {gap['membership_auc']:.0%} of pairs "
            f"(chance is 50%, limit {MAX_MEMBERSHIP_AUC:.0%})"
        )
    if (rise := passport["curve"]["rise_after_best"]) is not None and rise > MAX_RISE:
        found.append(f"the validation loss rose by {rise:.0%} after its best step (limit {MAX_RISE:.0%})")
    memorised = passport["memorisation"]
    if memorised and memorised["can_be_asked"] and memorised["learnt_by_heart"]:
        found.append(
            f"{memorised['learnt_by_heart']} of {memorised['planted']} canaries were learnt by heart "
            f"(exposure {memorised['exposure_bits']:.1f} of {memorised['most_bits']:.1f} bits): who asks for them gets "
            "them, and so perhaps other rows"
        )


def _contaminated(contamination: Mapping[str, Any], found: list[str]) -> None:
    for name, figures in contamination.items():
        if figures["copied"]:
            found.append(
                f"{figures['copied']} of {figures['questions']} {name} rows stand almost whole in the training set"
            )
