"""Two factories on the same rows: by how much the lifts of the one exceed those of the other, with
a paired interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headwater.errors import ExperimentError
from headwater.evaluation.lift import Judged
from headwater.evaluation.metrics import WeightedRanking


@dataclass(frozen=True)
class Difference:
    """Of a variant's ROC-AUC lift in the second factory over the first, in points of per cent, with
    its interval.
    """

    variant: str
    points: float
    low: float
    high: float


def same_rows(a: Judged, b: Judged) -> bool:
    """Whether both judged exactly the same rows: labels, users and days, in order."""
    return all(
        np.array_equal(x, y)
        for x, y in ((a.labels_N, b.labels_N), (a.users_N, b.users_N), (a.days_N, b.days_N))
    )


def lift_differences(
    a: Judged, b: Judged, bootstrap: int, confidence: float, seed: int, baseline: str = "none"
) -> list[Difference]:
    """For every variant that both judged: lift in `b` less lift in `a`, each against its own
    `baseline`.

    Percentile bootstrap, paired: each replicate draws the same users for both factories, and the
    same seeds where they trained from the same ones. Raises ExperimentError where the rows are not
    the same, or one class is missing.
    """
    if not same_rows(a, b):
        raise ExperimentError(
            f"compare: the two factories judged other rows ({len(a.labels_N):,} and"
            f" {len(b.labels_N):,}), so their lifts cannot be compared row by row. Give both the"
            " same logs, evaluation.start and evaluation.end."
        )
    if baseline not in a.scores or baseline not in b.scores or not a.has_two_classes:
        raise ExperimentError(
            f"compare: lifts need the variant {baseline!r} in both factories and rows of two"
            " classes."
        )
    variants = [variant for variant in a.scores if variant in b.scores and variant != baseline]
    rankers = [
        {
            variant: [
                WeightedRanking(judged.labels_N, scores)
                for _, scores in sorted(judged.scores[variant].items())
            ]
            for variant in (baseline, *variants)
        }
        for judged in (a, b)
    ]
    sizes = [len(by_variant[baseline]) for by_variant in rankers]
    same_seeds = sorted(a.scores[baseline]) == sorted(b.scores[baseline])
    users, user_N = np.unique(a.users_N, return_inverse=True)
    generator, draws = np.random.default_rng(seed), np.empty((bootstrap, len(variants)))
    for replicate in range(bootstrap):
        weights_N = np.bincount(
            generator.integers(0, len(users), len(users)), minlength=len(users)
        )[user_N].astype(np.float64)
        of_a = generator.integers(
            0, sizes[0], max(1, sizes[0] - 1)
        )  # one less than there are: see lift.replicates
        of_b = of_a if same_seeds else generator.integers(0, sizes[1], max(1, sizes[1] - 1))
        draws[replicate] = _gain(rankers[1], of_b, weights_N, baseline) - _gain(
            rankers[0], of_a, weights_N, baseline
        )
    whole = np.ones(len(a.labels_N))
    found = _gain(rankers[1], np.arange(sizes[1]), whole, baseline) - _gain(
        rankers[0], np.arange(sizes[0]), whole, baseline
    )
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0) if variants else (found, found)
    return [
        Difference(variant, float(found[n]), float(low[n]), float(high[n]))
        for n, variant in enumerate(variants)
    ]


def _gain(
    by_variant: Mapping[str, list[WeightedRanking]],
    drawn: np.ndarray,
    weights_N: np.ndarray,
    baseline: str,
) -> np.ndarray:
    """Lift of every variant in per cent, [variants], with these seeds and weights."""
    places, times = np.unique(drawn, return_counts=True)
    mean = {
        variant: (
            sum(n * rankers[place](weights_N)[0] for place, n in zip(places, times, strict=True))
            / len(drawn)
        )
        for variant, rankers in by_variant.items()
    }
    return np.array(
        [100 * (auc / mean[baseline] - 1) for variant, auc in mean.items() if variant != baseline]
    )
