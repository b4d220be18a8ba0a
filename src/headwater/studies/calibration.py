"""Calibration: is a predicted probability what it says? Shapes: N rows, B bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.calibration import calibration_curve

from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Interval, Judged, Series, Table, interval_of
from headwater.evaluation.clusters import Clusters
from headwater.evaluation.influence import mean_influence
from headwater.studies.comparison import ONE_SEED, Row, reading_variant

BINS = 10
COLUMNS = (
    Column("variant", "variant"),
    Column("predicted", "mean predicted", ".4f"),
    Column("observed", "observed", ".4f"),
    Column("ratio", "predicted / observed", ".3f", "ratio_low", "ratio_high"),
    Column("ece", "calibration error", ".4f"),
    Column("worst", "worst tenth", "+.4f"),
)


@dataclass(frozen=True)
class Curve:
    """A variant's probabilities, the mean over its seeds, beside what came: of all rows, and of
    bins of equally many. `ratio` is of positives promised to positives come.
    """

    variant: str
    predicted: float
    observed: float
    rows: int
    predicted_B: np.ndarray
    observed_B: np.ndarray
    shares_B: np.ndarray
    ratio: Interval

    @classmethod
    def of(cls, judged: Judged, variant: str, clusters: Clusters, confidence: float) -> Curve:
        by_seed = judged.scores[variant].values()
        predicted_N = np.asarray(np.mean(list(by_seed), axis=0, dtype=np.float64))
        ratio_S = np.array([scores.mean(dtype=np.float64) for scores in by_seed])
        ratio_S = ratio_S / judged.labels_N.mean(dtype=np.float64)
        observed_B, predicted_B = calibration_curve(
            judged.labels_N, predicted_N, n_bins=BINS, strategy="quantile"
        )
        return cls(
            variant=variant,
            predicted=predicted_N.mean(),
            observed=judged.labels_N.mean(),
            rows=len(judged.labels_N),
            predicted_B=predicted_B,
            observed_B=observed_B,
            shares_B=_shares(predicted_N),
            ratio=interval_of(
                mean_influence(predicted_N, judged.labels_N), clusters, confidence, [ratio_S]
            ),
        )

    @property
    def gaps(self) -> np.ndarray:
        return self.predicted_B - self.observed_B

    @property
    def error(self) -> float:
        """The expected calibration error, sum_b n_b / n |mean predicted_b - observed_b| (Naeini et
        al. 2015).
        """
        return float(self.shares_B @ np.abs(self.gaps))


def calibration_table(consumer: str, judged: Judged, confidence: float = 0.95) -> Table:
    """The ratio of clicks promised to clicks come, with its interval over users, items and seeds,
    and the expected calibration error over ten bins of equal size, of every variant.

    Raises ExperimentError where the judged rows hold one class only.
    """
    if not judged.has_two_classes:
        raise ExperimentError(
            "calibration: the judged rows hold no two classes yet. Run more days, or widen"
            " evaluation.start and end."
        )
    clusters = Clusters(judged.users_N, judged.items_N)
    curves = {variant: Curve.of(judged, variant, clusters, confidence) for variant in judged.scores}
    return Table(
        name="calibration",
        title=f"calibration of the {consumer.upper()} ranker",
        consumer=consumer,
        first_day=str(judged.day(0)),
        last_day=str(judged.day(-1)),
        answer=_answer(consumer, curves),
        columns=COLUMNS,
        rows=tuple(_row(curve) for curve in curves.values()),
        notes=("The probabilities of a variant are the mean over its seeds.",),
        charts=_charts(consumer, curves),
    )


def _shares(predicted_N: np.ndarray) -> np.ndarray:
    """The share of rows in each of calibration_curve's quantile bins that is not empty: equal, but
    where predictions tie.
    """
    edges = np.percentile(predicted_N, np.linspace(0, 100, BINS + 1))
    counts = np.bincount(np.searchsorted(edges[1:-1], predicted_N), minlength=BINS)
    return counts[counts > 0] / len(predicted_N)


def _row(curve: Curve) -> Row:
    gaps_B = curve.gaps
    return {
        "variant": curve.variant,
        "predicted": float(curve.predicted),
        "observed": float(curve.observed),
        "ratio": curve.ratio.value,
        "ratio_low": curve.ratio.low,
        "ratio_high": curve.ratio.high,
        "ece": curve.error,
        "worst": float(gaps_B[np.abs(gaps_B).argmax()]),
        "n": curve.rows,
    }


def _answer(consumer: str, curves: dict[str, Curve]) -> str:
    base, best = curves["none"], curves[reading_variant(curves)]
    ratio = best.ratio
    side = "high" if ratio.value > 1 else "low"
    found = f"{abs(ratio.value - 1):.1%} too {side} on average"
    if ratio.low <= 1 <= ratio.high:
        found = "not shown to be too high or too low on average"
    caveat = ""
    if not ratio.training:
        caveat = ONE_SEED
    return (
        f"{consumer.upper()} ranker: predictions of the variant {best.variant} are {found}"
        f" (predicted / observed {ratio.value:.3f}, {ratio.low:.3f} to {ratio.high:.3f}), and off"
        f" by {best.error:.4f} in the mean over tenths, without embeddings by"
        f" {base.error:.4f}.{caveat}"
    )


def _charts(consumer: str, curves: dict[str, Curve]) -> tuple[Chart, ...]:
    drawn = ("none", reading_variant(curves))
    series = tuple(
        Series(curve.variant, tuple(curve.predicted_B.tolist()), tuple(curve.observed_B.tolist()))
        for curve in curves.values()
        if curve.variant in drawn
    )
    chart = Chart(
        f"calibration-{consumer}",
        f"Calibration of the {consumer.upper()} ranker",
        "lines",
        "mean predicted probability",
        "share of positives",
        series,
        "Ten bins of equally many rows; on the diagonal a probability is what it says.",
        diagonal=True,
    )
    return (chart,)
