"""Calibration: is a predicted probability what it says?"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve

from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Judged, Series, Table
from headwater.studies.lifts import reading_variant

BINS = 10
COLUMNS = (
    Column("variant", "variant"),
    Column("predicted", "mean predicted", ".4f"),
    Column("observed", "observed", ".4f"),
    Column("ratio", "predicted / observed", ".3f"),
    Column("ece", "calibration error", ".4f"),
    Column("worst", "worst tenth", "+.4f"),
)


def calibration_table(consumer: str, judged: Judged) -> Table:
    """Per variant (its seeds' probabilities averaged): the ratio of clicks promised to clicks come,
    and the expected calibration error sum_b n_b / n |mean predicted_b - observed_b| over ten bins
    of equal size (Naeini et al. 2015).
    """
    if not judged.has_two_classes:
        raise ExperimentError(
            "calibration: the judged rows hold no two classes yet. Run more days, or widen"
            " evaluation.start and end."
        )
    rows, series = list[dict[str, Any]](), list[Series]()
    labels, drawn = judged.labels_N, ("none", reading_variant(judged.scores))
    for variant, by_seed in judged.scores.items():
        predicted = np.mean(list(by_seed.values()), axis=0)
        observed_B, predicted_B = calibration_curve(
            labels, predicted, n_bins=BINS, strategy="quantile"
        )
        gaps, shares_B = predicted_B - observed_B, _shares(predicted)
        rows.append(
            {
                "variant": variant,
                "predicted": float(predicted.mean()),
                "observed": float(labels.mean()),
                "ratio": float(predicted.mean() / labels.mean()),
                "ece": float(shares_B @ np.abs(gaps)),
                "worst": float(gaps[np.abs(gaps).argmax()]),
                "n": len(labels),
            }
        )
        if variant in drawn:
            series.append(Series(variant, tuple(predicted_B.tolist()), tuple(observed_B.tolist())))
    shown = {row["variant"]: row for row in rows}
    base, best = shown["none"], shown[reading_variant(judged.scores)]
    better = "better" if best["ece"] < base["ece"] else "not better"
    side = "high" if best["ratio"] > 1 else "low"
    answer = (
        f"{consumer.upper()} ranker: predictions of the variant {best['variant']} are"
        f" {abs(best['ratio'] - 1):.1%} too {side} on average, and off by {best['ece']:.4f} in the"
        f" mean over tenths ({better} than {base['ece']:.4f} without)."
    )
    chart = Chart(
        f"calibration-{consumer}",
        f"Calibration of the {consumer.upper()} ranker",
        "lines",
        "mean predicted probability",
        "share of positives",
        tuple(series),
        "Ten bins of equally many rows; on the diagonal a probability is what it says.",
        diagonal=True,
    )
    title, span = (
        f"calibration of the {consumer.upper()} ranker",
        (str(judged.day(0)), str(judged.day(-1))),
    )
    return Table(
        "calibration",
        title,
        consumer,
        *span,
        answer,
        COLUMNS,
        tuple(rows),
        ("The probabilities of a variant are the mean over its seeds.",),
        (chart,),
    )


def _shares(predicted_N: np.ndarray) -> np.ndarray:
    """The share of rows in each of calibration_curve's quantile bins that is not empty: equal, but
    where predictions tie.
    """
    edges = np.percentile(predicted_N, np.linspace(0, 100, BINS + 1))
    counts = np.bincount(np.searchsorted(edges[1:-1], predicted_N), minlength=BINS)
    return counts[counts > 0] / len(predicted_N)
