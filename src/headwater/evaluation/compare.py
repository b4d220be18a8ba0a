"""Two factories on the same rows: by how much the lifts of the one exceed those of the other.

Intervals are paired. Shape suffixes: N rows, V variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.errors import ExperimentError
from headwater.evaluation.bootstrap import drawn_users, seeds_drawn
from headwater.evaluation.judged import Judged
from headwater.evaluation.metrics import WeightedRanking


@dataclass(frozen=True)
class Difference:
    """Of a variant's ROC-AUC lift in the second factory over the first, with its interval.

    In points of per cent.
    """

    variant: str
    points: float
    low: float
    high: float


def same_rows(a: Judged, b: Judged) -> bool:
    """Whether both judged exactly the same rows: labels, users and days, in order."""
    return (
        np.array_equal(a.labels_N, b.labels_N)
        and np.array_equal(a.users_N, b.users_N)
        and np.array_equal(a.days_N, b.days_N)
    )


def lift_differences(
    a: Judged, b: Judged, bootstrap: int, confidence: float, seed: int, baseline: str = "none"
) -> list[Difference]:
    """For every variant that both judged: lift in `b` less lift in `a`.

    Each lift is against its factory's own `baseline`. Percentile bootstrap, paired: each replicate
    draws the same users for both factories, and the same seeds where they trained from the same
    ones. Raises ExperimentError where the rows are not the same, or one class is missing.
    """
    _expect_comparable(a, b, baseline)
    variants = [variant for variant in a.scores if variant in b.scores and variant != baseline]
    of_a, of_b = (_Lifts(judged, baseline, variants) for judged in (a, b))
    same_seeds = sorted(a.scores[baseline]) == sorted(b.scores[baseline])
    users, user_N = np.unique(a.users_N, return_inverse=True)
    generator = np.random.default_rng(seed)
    draws_RV = np.empty((bootstrap, len(variants)))
    for replicate in range(bootstrap):
        weights_N = drawn_users(generator, len(users))[user_N]
        seeds_a = of_a.drawn(generator)
        seeds_b = seeds_a if same_seeds else of_b.drawn(generator)
        draws_RV[replicate] = of_b(seeds_b, weights_N) - of_a(seeds_a, weights_N)
    whole_N = np.ones(len(a.labels_N))
    found_V = of_b(np.arange(of_b.seeds), whole_N) - of_a(np.arange(of_a.seeds), whole_N)
    low_V = high_V = found_V
    if variants:
        tail = (1 - confidence) / 2
        low_V, high_V = np.nanquantile(draws_RV, [tail, 1 - tail], axis=0)
    return [
        Difference(variant, float(found_V[n]), float(low_V[n]), float(high_V[n]))
        for n, variant in enumerate(variants)
    ]


def _expect_comparable(a: Judged, b: Judged, baseline: str) -> None:
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


class _Lifts:
    """The lifts of one factory's variants under any seeds and weights of rows."""

    def __init__(self, judged: Judged, baseline: str, variants: Sequence[str]) -> None:
        self.baseline = _rankings(judged, baseline)
        self.variants = [_rankings(judged, variant) for variant in variants]
        self.seeds = len(self.baseline)

    def drawn(self, generator: np.random.Generator) -> np.ndarray:
        """Places of the seeds of a replicate."""
        return generator.integers(0, self.seeds, seeds_drawn(self.seeds))

    def __call__(self, drawn: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
        """Lift of every variant in per cent, [V], with these seeds and weights."""
        base = _mean_auc(self.baseline, drawn, weights_N)
        return np.array(
            [100 * (_mean_auc(rankings, drawn, weights_N) / base - 1) for rankings in self.variants]
        )


def _rankings(judged: Judged, variant: str) -> list[WeightedRanking]:
    """One a seed, in the order of the seeds."""
    by_seed = sorted(judged.scores[variant].items())
    return [WeightedRanking(judged.labels_N, scores) for _, scores in by_seed]


def _mean_auc(
    rankings: Sequence[WeightedRanking], drawn: np.ndarray, weights_N: np.ndarray
) -> float:
    places, times = np.unique(drawn, return_counts=True)
    total = sum(n * rankings[place](weights_N)[0] for place, n in zip(places, times, strict=True))
    return float(total / len(drawn))
