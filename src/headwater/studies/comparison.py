"""What tables of lifts share: the lifts of judged variants, how a row and a chart show them, and
what the shuffled control says of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.config import SHUFFLED, EvaluationConfig
from headwater.evaluation import Chart, Column, Judged, Lift, Series, lift_table
from headwater.evaluation.interval import FEW
from headwater.evaluation.lift import Within
from headwater.evaluation.verdict import Tone, beside_control, shown
from headwater.evaluation.within import two_classes

Row = Mapping[str, object]
# what an answer must not leave out
ONE_SEED = " One seed of the ranker was trained: the chance in training is not covered."
# beside the lift of pooled ROC-AUC, those of the other two
WITHIN = (
    Column("daily_lift_pct", "daily, lift %", "+.2f", "daily_low", "daily_high"),
    Column("group_lift_pct", "in group, lift %", "+.2f", "group_low", "group_high"),
)


@dataclass(frozen=True)
class Lifts:
    """Every lift of one table, in the order of its comparisons, p values corrected over them."""

    rows: tuple[Lift, ...]

    @classmethod
    def of(
        cls,
        judged: Judged,
        span: EvaluationConfig,
        further: Sequence[tuple[str, str]] = (),
        baseline: str = "none",
    ) -> Lifts:
        """Of every judged variant against `baseline`, and of each pair of `further`: (variant,
        another baseline).

        Raises ExperimentError where the judged rows hold one class only.
        """
        return cls(tuple(lift_table(judged, span.confidence, baseline, further)))

    def with_others(self, others: Lifts) -> Lifts:
        """These and those of others on the same rows; of a comparison that both made, the
        others'.
        """
        made = {(row.variant, row.baseline): row for row in (*self.rows, *others.rows)}
        return Lifts(tuple(made.values()))

    def find(self, variant: str, baseline: str = "none") -> Lift | None:
        """None where the two were not compared."""
        return self.against(baseline).get(variant)

    def get(self, variant: str, baseline: str = "none") -> Lift:
        """Raises KeyError where the two were not compared."""
        return self.against(baseline)[variant]

    def tone(self, variant: str) -> Tone:
        """What may be said of a variant's lift over no embeddings, by its intervals, and by those
        over its shuffled control where the two were compared.
        """
        over = self.find(variant, SHUFFLED)
        return beside_control(shown(self.get(variant)), None if over is None else shown(over))

    def against(self, baseline: str) -> dict[str, Lift]:
        """By variant, those over one baseline."""
        return {row.variant: row for row in self.rows if row.baseline == baseline}


def change_cells(name: str, lift: Lift) -> dict[str, object]:
    """A row's cells for a lift over another baseline than the table's: `NAME_pct` and its bounds,
    and those of the other two ROC-AUCs, `NAME_daily_pct` and `NAME_group_pct`.
    """
    cells: dict[str, object] = {
        f"{name}_pct": lift.roc_auc_lift_pct,
        f"{name}_low": lift.low,
        f"{name}_high": lift.high,
    }
    for of, within in (("daily", lift.daily), ("group", lift.group)):
        figures = {"pct": within.lift_pct, "low": within.low, "high": within.high}
        cells |= {
            f"{name}_{of}_{key}": None if np.isnan(value) else value
            for key, value in figures.items()
        }
    return cells


def change_columns(name: str, title: str, spec: str = "+.2f") -> tuple[Column, ...]:
    """The columns of `change_cells`."""
    return (
        Column(f"{name}_pct", f"{title}, %", spec, f"{name}_low", f"{name}_high"),
        *(
            Column(f"{name}_{of}_pct", words, spec, f"{name}_{of}_low", f"{name}_{of}_high")
            for of, words in (("daily", "daily, %"), ("group", "in group, %"))
        ),
    )


def beside(lift: Lift) -> str:
    """The lifts of the other two ROC-AUCs, in words."""
    said = [_said("daily", lift.daily), _said(f"within {lift.group_of}", lift.group)]
    return "; ".join(said)


def _said(what: str, within: Within) -> str:
    if np.isnan(within.lift_pct):
        return f"{what} not defined"
    return f"{what} {within.lift_pct:+.2f} %, {within.low:.2f} to {within.high:.2f}"


def within_note(judged: Judged) -> str:
    """What the daily ROC-AUC and that in a group are means of."""
    days, _, days_left = two_classes(judged.labels_N, judged.day_strata)
    groups, rows, groups_left = two_classes(judged.labels_N, judged.group_strata)
    return (
        f"Daily: the mean ROC-AUC of {days} days, weighted by rows ({days_left} of one class are"
        f" left out). In group: within {judged.group}, on a day; the mean of {groups:,} groups of"
        f" both classes, weighted by rows, {rows:,} in all ({groups_left:,} groups of one class are"
        " left out). A gain is shown where pooled and daily both gain, and no loss is shown in"
        " group."
    )


def lift_series(name: str, x: Iterable[str | float], lifts: Iterable[Lift]) -> Series:
    """The lifts of ROC-AUC over `x`, with their intervals."""
    cells = [lift.as_json() for lift in lifts]
    values, low, high = (
        tuple(cell[key] for cell in cells) for key in ("roc_auc_lift_pct", "low", "high")
    )
    return Series(name, tuple(x), values, low, high)


def lift_chart(name: str, title: str, lifts: Lifts, confidence: float) -> Chart:
    """Bars of the lifts against the model without embeddings, with their intervals."""
    shown = {variant: lift for variant, lift in lifts.against("none").items() if variant != "none"}
    note = (
        f"ROC-AUC against the same model without embeddings, per cent, with {confidence:.0%}"
        " intervals."
    )
    bars = lift_series("lift", shown, shown.values())
    return Chart(name, title, "bars", "lift of ROC-AUC, %", "", (bars,), note)


def reading_variant(variants: Iterable[str]) -> str:
    """The variant to speak of: `all`, or else the last that reads embeddings as they are, or else
    what there is.
    """
    names = list(variants)
    if "all" in names:
        return "all"
    reading = [name for name in names if name not in ("none", SHUFFLED)]
    without = [name for name in names if name == "none"]
    return [*without, *reading][-1]


def control_pairs(judged: Iterable[str], variants: Iterable[str]) -> list[tuple[str, str]]:
    """The comparisons of `variants` with the shuffled control, where that was judged."""
    names = set(judged)
    if SHUFFLED not in names:
        return []
    return [(name, SHUFFLED) for name in variants if name in names - {"none", SHUFFLED}]


def control_note(lifts: Lifts, variant: str) -> str:
    """Whether a variant's gain is the vectors' own: does the shuffled control lift, and does the
    variant gain over it on the same rows.
    """
    control, over = lifts.find(SHUFFLED), lifts.find(variant, SHUFFLED)
    if control is None:
        return " No shuffled control was judged."
    found = f"{control.roc_auc_lift_pct:+.2f} %"
    said = f" The shuffled control does not lift ({found})"
    if control.low > 0:
        said = f" Beware: the shuffled control lifts too ({found})"
    if over is None:
        return f"{said}."
    gain = f"{over.roc_auc_lift_pct:+.2f} %"
    interval = f"{over.low:+.2f} to {over.high:+.2f}"
    if shown(over) == "good":
        return f"{said}; over it the vectors gain {gain} ({interval})."
    if over.low > 0:
        interval = f"{interval}; {beside(over)}"
    return (
        f"{said}; over it no gain of the vectors is shown, {gain} ({interval}), so none is shown to"
        " be theirs."
    )


def training_caveat(lifts: Lifts) -> str:
    """`ONE_SEED` where that is so."""
    if all(row.covers_training for row in lifts.rows):
        return ""
    return ONE_SEED


def interval_note(lifts: Lifts) -> str:
    """What a table's intervals cover and what they do not, and whether they rest on too few."""
    compared = [row for row in lifts.rows if row.variant != row.baseline]
    said = f"Intervals and p values are of one error, over {_covered(lifts, compared)}"
    fewest = min((min(row.users_effective, row.items_effective) for row in compared), default=FEW)
    if fewest < FEW:
        said += (
            f" They rest on few users or items, as good as {fewest:.1f} of equal weight: a rough"
            " guide."
        )
    return said


def _covered(lifts: Lifts, compared: Sequence[Lift]) -> str:
    """What the chance in intervals is of, and of what it is not."""
    most = max(lifts.rows, key=lambda row: row.upstream_seeds)
    if most.upstream_seeds > 1:
        once = any(row.upstream_seeds == 1 for row in lifts.rows)
        return (
            f"users, items and {most.upstream_seeds} seeds of the upstreams, each with"
            f" {most.seeds // most.upstream_seeds} seeds of the ranker of its own."
            f"{' Where one upstream seed was trained, its chance is not covered.' if once else ''}"
        )
    if all(row.covers_training for row in compared):
        return (
            f"users, items and {lifts.rows[0].seeds} seeds of the ranker. The chance in training"
            " an upstream, which was trained once, is in none of them: its own seed is not"
            " covered."
        )
    return (
        "users and items. The chance in training is in none of them: one seed of the ranker was"
        " trained, and each upstream once."
    )
