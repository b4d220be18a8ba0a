"""Means over queries with user-clustered bootstrap intervals, and paired differences. Shapes: Q
queries, U users, B replicates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from headwater.evaluation.lift import POWER


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, and the bounds of its interval. `needed`: of a difference whose interval
    holds zero, how many queries would show one of this size four times in five.
    """

    value: float
    low: float
    high: float
    needed: int | None = None


class Resampler:
    """Draws users: a user's queries, of all days, come or go together. Every method sees the same
    draws, so that differences are paired.
    """

    def __init__(self, users_Q: np.ndarray, replicates: int, confidence: float, seed: int) -> None:
        people, self._user_Q = np.unique(users_Q, return_inverse=True)
        alike = np.full(len(people), 1 / max(1, len(people)))
        drawn = np.random.default_rng(seed).multinomial(len(people), alike, size=replicates)
        self._draws_BU = drawn.astype(np.float32)
        self._tail = (1 - confidence) / 2

    def mean(self, values_Q: np.ndarray) -> Estimate:
        """Of the queries whose value is not NaN; all NaN where there is none."""
        defined = ~np.isnan(values_Q)
        if not defined.any():
            return Estimate(float("nan"), float("nan"), float("nan"))
        drawn_B = self._means(values_Q, defined)
        low, high = np.nanquantile(drawn_B, [self._tail, 1 - self._tail])
        return Estimate(float(values_Q[defined].mean()), float(low), float(high))

    def difference(self, values_Q: np.ndarray, base_Q: np.ndarray) -> Estimate:
        """Mean of `values_Q` less that of `base_Q`, with `needed` queries where the interval holds
        zero.
        """
        less_Q = values_Q - base_Q
        made = self.mean(less_Q)
        if not made.low <= 0 <= made.high or made.value == 0:
            return made
        defined = ~np.isnan(less_Q)
        error = float(np.nanstd(self._means(less_Q, defined), ddof=1))
        times = (norm.ppf(1 - self._tail) + norm.ppf(POWER)) * error / abs(made.value)
        needed = min(1e12, defined.sum() * times**2)
        return replace(made, needed=int(np.ceil(needed)))

    def _means(self, values_Q: np.ndarray, defined: np.ndarray) -> np.ndarray:
        size = self._draws_BU.shape[1]
        sums_U = np.bincount(self._user_Q[defined], weights=values_Q[defined], minlength=size)
        counts_U = np.bincount(self._user_Q[defined], minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(
                (self._draws_BU @ sums_U.astype(np.float32))
                / (self._draws_BU @ counts_U.astype(np.float32))
            )
