"""Slices: whom the embeddings help. New, light and heavy users; new and old items; and every
context feature with few values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headwater.config import SHUFFLED
from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Judged, Lift, Table, lift_table
from headwater.evaluation.interval import FEW, LEAST_GROUPS
from headwater.evaluation.lift import holm
from headwater.evaluation.verdict import Tone, beside_control, corrected_tone
from headwater.studies.comparison import (
    WITHIN,
    Lifts,
    Row,
    change_cells,
    change_columns,
    control_pairs,
    interval_note,
    lift_series,
    reading_variant,
    training_caveat,
    within_note,
)
from headwater.studies.slice_rows import NEW_ITEM_DAYS, slices_of
from headwater.workspace import Workspace

LEAST_ROWS = 200
CONTROL_CELLS = (
    *("roc_auc_lift_pct", "low", "high"),
    *("daily_lift_pct", "daily_low", "daily_high"),
    *("group_lift_pct", "group_low", "group_high"),
)
WORDS: dict[Tone, str] = {
    "good": "gains",
    "bad": "loses",
    "flat": "not shown",
    "doubt": "in doubt: no gain over its control",
    "mixed": "mixed: one ROC-AUC rises, another falls",
}
COLUMNS = (
    Column("slice", "slice"),
    Column("value", "rows of"),
    Column("n", "rows", ",d"),
    Column("users", "users", ",d"),
    Column("rate", "positive", ".1%"),
    Column("base_roc_auc", "ROC-AUC without", ".4f"),
    Column("roc_auc", "with", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    *WITHIN,
    Column("p_holm", "p (Holm)", ".2g"),
    Column(
        "shuffled_roc_auc_lift_pct", "shuffled, lift %", "+.2f", "shuffled_low", "shuffled_high"
    ),
    *change_columns("over_shuffled", "over shuffled"),
    Column("verdict", "verdict", "s"),
    Column("rows_needed", "rows needed", ".2g"),
)


@dataclass(frozen=True)
class SliceLift:
    """What embeddings gain on the rows `value` of what is sliced `by`; and, if the shuffled control
    was judged, what that gains there and what they gain over it.
    """

    by: str
    value: str
    users: int
    rate: float
    lift: Lift
    control: Lift | None
    over_control: Lift | None

    def tone(self, alpha: float) -> Tone:
        """What may be said of the slice, after correction over all slices."""
        over = None if self.over_control is None else corrected_tone(self.over_control, alpha)
        return beside_control(corrected_tone(self.lift, alpha), over)


def slice_table(workspace: Workspace, consumer: str, judged: Judged) -> Table:
    """The lift of the variant that reads all embeddings (or, without one, of the last that reads
    any) on each slice of the judged rows, with p values corrected over all slices.

    Raises ExperimentError where no variant reads any.
    """
    variant = _expect_reading(judged, consumer)
    confidence = workspace.config.evaluation.confidence
    found, left_out = _gather(workspace, consumer, judged, variant)
    alpha = 1 - confidence
    return Table(
        name="slices",
        title=f"slices of the {consumer.upper()} ranker",
        consumer=consumer,
        first_day=str(judged.day(0)),
        last_day=str(judged.day(-1)),
        answer=_answer(consumer, found, alpha),
        columns=COLUMNS,
        rows=tuple(_row(one, alpha) for one in found),
        notes=(*_notes(found, left_out), within_note(judged)),
        charts=_charts(consumer, variant, found),
    )


def _expect_reading(judged: Judged, consumer: str) -> str:
    """The variant that the slices are about."""
    variant = reading_variant(judged.scores)
    if variant == "none":
        raise ExperimentError(
            f"slices: no variant of {consumer!r} reads embeddings; judged are:"
            f" {', '.join(judged.scores)}. Add one under variants."
        )
    return variant


def _gather(
    workspace: Workspace, consumer: str, judged: Judged, variant: str
) -> tuple[list[SliceLift], list[str]]:
    """The slices, and in words those that are too small to tell anything."""
    confidence = workspace.config.evaluation.confidence
    names = dict.fromkeys(("none", variant))
    if SHUFFLED in judged.scores:
        names[SHUFFLED] = None
    compared = replace(judged, scores={name: judged.scores[name] for name in names})
    found: list[SliceLift] = []
    left_out: list[str] = []
    for by, value, chosen_N in slices_of(workspace, consumer, compared):
        part = compared.take(np.flatnonzero(chosen_N))
        made = _slice_lift(by, value, part, variant, confidence) if _is_enough(part) else None
        if made is None:
            left_out.append(f"{by} {value} ({len(part.labels_N)})")
        else:
            found.append(made)
    return _corrected(found), left_out


def _is_enough(part: Judged) -> bool:
    return (
        len(part.labels_N) >= LEAST_ROWS
        and part.has_two_classes
        and min(len(np.unique(keys_N)) for keys_N in (part.users_N, part.items_N)) >= LEAST_GROUPS
    )


def _slice_lift(
    by: str, value: str, part: Judged, variant: str, confidence: float
) -> SliceLift | None:
    """None where the users or items of the slice are too few to tell anything of others."""
    pairs = control_pairs(part.scores, [variant])
    lifts = Lifts(tuple(lift_table(part, confidence, further=pairs)))
    lift = lifts.get(variant)
    if min(lift.users_effective, lift.items_effective) < FEW:
        return None
    return SliceLift(
        by=by,
        value=value,
        users=len(np.unique(part.users_N)),
        rate=float(part.labels_N.mean()),
        lift=lift,
        control=lifts.find(SHUFFLED) if pairs else None,
        over_control=lifts.find(variant, SHUFFLED),
    )


def _corrected(found: Sequence[SliceLift]) -> list[SliceLift]:
    """With p values corrected over all slices: those of the lifts, and those over the control."""
    lifts = holm([one.lift for one in found])
    over = iter(holm([one.over_control for one in found if one.over_control is not None]))
    return [
        replace(one, lift=lift, over_control=None if one.over_control is None else next(over))
        for one, lift in zip(found, lifts, strict=True)
    ]


def _row(one: SliceLift, alpha: float) -> Row:
    row: dict[str, object] = {}
    if one.control is not None:
        control = one.control.as_json()
        row |= {f"shuffled_{key}": control[key] for key in CONTROL_CELLS}
    if one.over_control is not None:
        row |= change_cells("over_shuffled", one.over_control)
    return {
        **row,
        "slice": one.by,
        "value": one.value,
        "users": one.users,
        "rate": one.rate,
        "base_roc_auc": one.lift.roc_auc / (1 + one.lift.roc_auc_lift_pct / 100),
        "verdict": WORDS[one.tone(alpha)],
        **one.lift.as_json(),
    }


def _answer(consumer: str, found: Sequence[SliceLift], alpha: float) -> str:
    by_tone: dict[Tone, list[SliceLift]] = {tone: [] for tone in WORDS}
    for one in found:
        by_tone[one.tone(alpha)].append(one)
    gains = sorted(by_tone["good"], key=lambda one: -one.lift.roc_auc_lift_pct)
    said = (
        f"{consumer.upper()} ranker: of {len(found)} slices {len(gains)} are shown to gain"
        f" (p < {alpha:.2g} after correction)"
    )
    if gains:
        said += f", most of all {_listed(gains[:3])}"
    said += "."
    if by_tone["doubt"]:
        said += (
            f" In doubt, for no gain over their own shuffled control is shown:"
            f" {_listed(by_tone['doubt'])}."
        )
    if by_tone["mixed"]:
        said += f" One ROC-AUC rises and another falls: {_listed(by_tone['mixed'])}."
    if by_tone["bad"]:
        said += f" Worse with embeddings: {_listed(by_tone['bad'])}."
    else:
        said += " None is shown to lose."
    return said + training_caveat(_lifts(found))


def _lifts(found: Sequence[SliceLift]) -> Lifts:
    return Lifts(tuple(one.lift for one in found))


def _listed(chosen: Iterable[SliceLift]) -> str:
    return ", ".join(f"{one.by} {one.value} ({one.lift.roc_auc_lift_pct:+.2f} %)" for one in chosen)


def _notes(found: Sequence[SliceLift], left_out: Sequence[str]) -> tuple[str, ...]:
    notes = [
        "New users and items are counted from this log's first day on; a user's rows before the"
        " day decide between light (fewer than the median of those with any) and heavy. A new item"
        f" was first seen at most {NEW_ITEM_DAYS} days before. p values are corrected over all"
        " slices (Holm), those over the control likewise; intervals are not. A slice gains where"
        " both are shown."
    ]
    if found:
        notes.append(interval_note(_lifts(found)))
    if left_out:
        notes.append(
            f"Left out, with fewer than {LEAST_ROWS} rows, users or items as good as fewer than"
            f" {FEW:.0f} of equal weight, or one class only: {', '.join(left_out)}."
        )
    return tuple(notes)


def _charts(consumer: str, variant: str, found: Sequence[SliceLift]) -> tuple[Chart, ...]:
    labels = [f"{one.by}: {one.value}" for one in found]
    chart = Chart(
        f"slices-{consumer}",
        f"Lift of the {consumer.upper()} ranker by slice",
        "bars",
        "lift of ROC-AUC, %",
        "",
        (lift_series("lift", labels, [one.lift for one in found]),),
        f"The variant {variant} against none, with intervals.",
    )
    return (chart,)
