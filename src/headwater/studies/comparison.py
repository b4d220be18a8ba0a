"""What tables of lifts share: the lifts of judged variants, how a row and a chart show them, and
what the shuffled control says of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headwater.config import SHUFFLED, EvaluationConfig
from headwater.evaluation import Chart, Judged, Lift, Series, lift_table
from headwater.evaluation.interval import FEW
from headwater.evaluation.verdict import Tone, beside_control, tone_of

Row = Mapping[str, object]
# what an answer must not leave out
ONE_SEED = " One seed of the ranker was trained: the chance in training is not covered."


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

    def find(self, variant: str, baseline: str = "none") -> Lift | None:
        """None where the two were not compared."""
        return self.against(baseline).get(variant)

    def get(self, variant: str, baseline: str = "none") -> Lift:
        """Raises KeyError where the two were not compared."""
        return self.against(baseline)[variant]

    def tone(self, variant: str) -> Tone:
        """What may be said of a variant's lift over no embeddings, by its interval, and by that
        over its shuffled control where the two were compared.
        """
        lift, over = self.get(variant), self.find(variant, SHUFFLED)
        over_tone = None if over is None else tone_of(over.low, over.high)
        return beside_control(tone_of(lift.low, lift.high), over_tone)

    def against(self, baseline: str) -> dict[str, Lift]:
        """By variant, those over one baseline."""
        return {row.variant: row for row in self.rows if row.baseline == baseline}


def change_cells(name: str, lift: Lift) -> dict[str, object]:
    """A row's cells for a lift over another baseline than the table's: `NAME_pct` and its
    bounds.
    """
    return {
        f"{name}_pct": lift.roc_auc_lift_pct,
        f"{name}_low": lift.low,
        f"{name}_high": lift.high,
    }


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
    gain = f"{over.roc_auc_lift_pct:+.2f} % ({over.low:+.2f} to {over.high:+.2f})"
    if over.low > 0:
        return f"{said}; over it the vectors gain {gain}."
    return (
        f"{said}; over it no gain of the vectors is shown, {gain}, so none is shown to be theirs."
    )


def training_caveat(lifts: Lifts) -> str:
    """`ONE_SEED` where that is so."""
    if all(row.covers_training for row in lifts.rows):
        return ""
    return ONE_SEED


def interval_note(lifts: Lifts) -> str:
    """What a table's intervals cover and what they do not, and whether they rest on too few."""
    compared = [row for row in lifts.rows if row.variant != row.baseline]
    seeds = lifts.rows[0].seeds
    over = f"users, items and {seeds} seeds of the ranker"
    left_out = "The chance in training an upstream, which was trained once, is in none of them."
    if not all(row.covers_training for row in compared):
        over = "users and items"
        left_out = (
            "The chance in training is in none of them: one seed of the ranker was trained, and"
            " each upstream once."
        )
    said = f"Intervals and p values are of one error, over {over}. {left_out}"
    fewest = min((min(row.users_effective, row.items_effective) for row in compared), default=FEW)
    if fewest < FEW:
        said += (
            f" They rest on few users or items, as good as {fewest:.1f} of equal weight: a rough"
            " guide."
        )
    return said
