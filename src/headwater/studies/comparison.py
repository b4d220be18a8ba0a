"""What tables of lifts share: the lifts of judged variants, how a row and a chart show them, and
what the shuffled control says of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headwater.config import SHUFFLED, EvaluationConfig
from headwater.evaluation import Chart, Judged, Lift, Series, lift_table

BOOTSTRAP_SEED = 20250904
Row = Mapping[str, object]


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
        found = lift_table(
            judged, span.bootstrap, span.confidence, BOOTSTRAP_SEED, baseline, further
        )
        return cls(tuple(found))

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


def control_note(control: Lift | None) -> str:
    """Whether the gain is the vectors' own."""
    if control is None:
        return " No shuffled control was judged."
    if control.low > 0:
        return (
            f" Beware: the shuffled control lifts too ({control.roc_auc_lift_pct:+.2f} %), so the"
            " gain is not the vectors' own."
        )
    return f" The shuffled control does not lift ({control.roc_auc_lift_pct:+.2f} %)."
