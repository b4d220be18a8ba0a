"""Slices: whom the embeddings help. New, light and heavy users; new and old items; and every
context feature with few values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headwater.config import SHUFFLED
from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Judged, Lift, Table, quick_lift
from headwater.evaluation.lift import LEAST_USERS, holm
from headwater.studies.comparison import Row, lift_series, reading_variant
from headwater.studies.slice_rows import NEW_ITEM_DAYS, slices_of
from headwater.workspace import Workspace

LEAST_ROWS = 200
COLUMNS = (
    Column("slice", "slice"),
    Column("value", "rows of"),
    Column("n", "rows", ",d"),
    Column("users", "users", ",d"),
    Column("rate", "positive", ".1%"),
    Column("base_roc_auc", "ROC-AUC without", ".4f"),
    Column("roc_auc", "with", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column(
        "shuffled_roc_auc_lift_pct", "shuffled, lift %", "+.2f", "shuffled_low", "shuffled_high"
    ),
    Column("rows_needed", "rows needed", ".2g"),
)


@dataclass(frozen=True)
class SliceLift:
    """What embeddings gain on the rows `value` of what is sliced `by`, and what the shuffled
    control, if it was judged, gains there.
    """

    by: str
    value: str
    users: int
    rate: float
    lift: Lift
    control: Lift | None


def slice_table(workspace: Workspace, consumer: str, judged: Judged) -> Table:
    """The lift of the variant that reads all embeddings (or, without one, of the last that reads
    any) on each slice of the judged rows, with p values corrected over all slices.

    Raises ExperimentError where no variant reads any.
    """
    variant = _expect_reading(judged, consumer)
    confidence = workspace.config.evaluation.confidence
    found, left_out = _gather(workspace, consumer, judged, variant)
    return Table(
        name="slices",
        title=f"slices of the {consumer.upper()} ranker",
        consumer=consumer,
        first_day=str(judged.day(0)),
        last_day=str(judged.day(-1)),
        answer=_answer(consumer, found, 1 - confidence),
        columns=COLUMNS,
        rows=tuple(_row(one) for one in found),
        notes=_notes(left_out),
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
        if _is_enough(part):
            found.append(_slice_lift(by, value, part, variant, confidence))
        else:
            left_out.append(f"{by} {value} ({len(part.labels_N)})")
    corrected = holm([one.lift for one in found])
    return [replace(one, lift=lift) for one, lift in zip(found, corrected, strict=True)], left_out


def _is_enough(part: Judged) -> bool:
    return (
        len(part.labels_N) >= LEAST_ROWS
        and len(np.unique(part.users_N)) >= LEAST_USERS
        and part.has_two_classes
    )


def _slice_lift(by: str, value: str, part: Judged, variant: str, confidence: float) -> SliceLift:
    control = None
    if SHUFFLED in part.scores and variant != SHUFFLED:
        control = quick_lift(part, SHUFFLED, confidence)
    return SliceLift(
        by=by,
        value=value,
        users=len(np.unique(part.users_N)),
        rate=float(part.labels_N.mean()),
        lift=quick_lift(part, variant, confidence),
        control=control,
    )


def _row(one: SliceLift) -> Row:
    control = {} if one.control is None else one.control.as_json()
    of_control = {
        f"shuffled_{key}": value
        for key, value in control.items()
        if key in ("roc_auc_lift_pct", "low", "high")
    }
    return {
        **of_control,
        "slice": one.by,
        "value": one.value,
        "users": one.users,
        "rate": one.rate,
        "base_roc_auc": one.lift.roc_auc / (1 + one.lift.roc_auc_lift_pct / 100),
        **one.lift.as_json(),
    }


def _answer(consumer: str, found: Sequence[SliceLift], alpha: float) -> str:
    shown = [one for one in found if one.lift.p_holm is not None and one.lift.p_holm < alpha]
    gains = [one for one in shown if one.lift.roc_auc_lift_pct > 0]
    gains.sort(key=lambda one: -one.lift.roc_auc_lift_pct)
    losses = [one for one in shown if one.lift.roc_auc_lift_pct < 0]
    said = (
        f"{consumer.upper()} ranker: of {len(found)} slices {len(gains)} are shown to gain"
        f" (p < {alpha:.2g} after correction)"
    )
    if gains:
        said += f", most of all {_listed(gains[:3])}"
    if losses:
        return f"{said}. Worse with embeddings: {_listed(losses)}."
    return f"{said}. None is shown to lose."


def _listed(chosen: Iterable[SliceLift]) -> str:
    return ", ".join(f"{one.by} {one.value} ({one.lift.roc_auc_lift_pct:+.2f} %)" for one in chosen)


def _notes(left_out: Sequence[str]) -> tuple[str, ...]:
    note = (
        "New users and items are counted from this log's first day on; a user's rows before the"
        " day decide between light (fewer than the median of those with any) and heavy. A new item"
        f" was first seen at most {NEW_ITEM_DAYS} days before. p values are corrected over all"
        " slices (Holm); intervals, in closed form over users and seeds, are not."
    )
    if not left_out:
        return (note,)
    small = (
        f"Left out, with fewer than {LEAST_ROWS} rows or {LEAST_USERS} users, or one class"
        f" only: {', '.join(left_out)}."
    )
    return (note, small)


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
