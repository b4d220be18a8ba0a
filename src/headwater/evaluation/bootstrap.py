"""Paired bootstrap over users and seeds. Shape suffixes: N rows, U users."""

from __future__ import annotations

import numpy as np

from headwater.evaluation.judged import Judged
from headwater.evaluation.metrics import WeightedRanking


def replicates(judged: Judged, bootstrap: int, seed: int) -> dict[str, np.ndarray]:
    """Mean ROC-AUC and PR-AUC over drawn seeds under drawn users, [bootstrap, 2], by variant.

    All variants share each draw.
    """
    generator = np.random.default_rng(seed)
    users, user_N = np.unique(judged.users_N, return_inverse=True)
    seeds = sorted(next(iter(judged.scores.values())))
    rankings = {
        variant: {s: WeightedRanking(judged.labels_N, by_seed[s], user_N) for s in seeds}
        for variant, by_seed in judged.scores.items()
    }
    draws = {variant: np.empty((bootstrap, 2)) for variant in judged.scores}
    n_drawn = seeds_drawn(len(seeds))
    for replicate in range(bootstrap):
        weights_U = drawn_users(generator, len(users))
        drawn, times = np.unique(generator.choice(seeds, n_drawn), return_counts=True)
        for variant, by_seed in rankings.items():
            found = np.array([by_seed[int(s)](weights_U) for s in drawn])
            draws[variant][replicate] = times @ found / n_drawn
    return draws


def drawn_users(generator: np.random.Generator, users: int) -> np.ndarray:
    """How often each user is drawn, float64 [U], where as many are drawn as there are."""
    drawn = generator.integers(0, users, users)
    return np.bincount(drawn, minlength=users).astype(np.float64)


def seeds_drawn(seeds: int) -> int:
    """How many of S seeds a replicate draws: S - 1.

    Then the variance of their mean is s^2 / S, and not (S - 1) / S of it.
    """
    return max(1, seeds - 1)
