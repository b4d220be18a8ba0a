"""One error for everything that is said of a difference: interval, p value and rows needed.

Shape suffixes: N rows, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from headwater.errors import ExperimentError
from headwater.evaluation.clusters import Clusters, Variance, added
from headwater.evaluation.influence import Influence

POWER = 0.8  # with which the rows needed would show an effect of the size seen
LEAST_GROUPS = 2
# users or items of equal weight: from fewer, little can be told of others
FEW = 5.0


@dataclass(frozen=True)
class Interval:
    """A figure, and how sure it is.

    `low` and `high` are `value` -+ t(df) `error`, `p_value` is that of the same t against zero,
    two-sided. `users` and `items` are how many of equal weight would tell as much. Without
    `training`, the chance in training is not covered: there was one seed, or none.
    """

    value: float
    low: float
    high: float
    p_value: float
    error: float
    df: float
    users: float
    items: float
    training: bool

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high

    def rows_needed(self, n: int, confidence: float) -> int | None:
        """n ((z_confidence + z_power) error / value)^2: the error shrinks as 1 / sqrt(rows).

        None where the effect is shown already, and where no number would do.
        """
        if not self.holds_zero:
            return None
        z = norm.ppf((1 + confidence) / 2) + norm.ppf(POWER)
        needed = n * (z * self.error / max(abs(self.value), 1e-12)) ** 2
        return int(np.ceil(needed)) if needed < 1e12 else None


def interval_of(
    found: Influence, clusters: Clusters, confidence: float, seeds: Sequence[np.ndarray] = ()
) -> Interval:
    """The interval of a figure, over users, items and seeds.

    Its variance is that over rows (`Clusters.variance`) and, for each of the independent trainings
    `seeds` (the figure by seed, [S]), the variance over seeds by S; `added` has its degrees of
    freedom. What seeds and rows do together is in both, so the error is rather too large. One seed
    tells no variance: then `training` is false.

    Raises ExperimentError for rows of fewer than two users, or of fewer than two items.
    """
    _expect_groups(clusters)
    parts = [clusters.variance(found.parts_N)]
    parts += [over_seeds(by_seed_S) for by_seed_S in seeds if len(by_seed_S) > 1]
    total = added(parts)
    error = float(np.sqrt(total.value))
    wide = float(t.ppf((1 + confidence) / 2, total.df)) * error
    p_value = (
        1.0 if found.value == 0 else float(2 * t.sf(abs(found.value) / max(error, 1e-12), total.df))
    )
    return Interval(
        value=found.value,
        low=found.value - wide,
        high=found.value + wide,
        p_value=p_value,
        error=error,
        df=total.df,
        users=clusters.users.effective(found.parts_N),
        items=clusters.items.effective(found.parts_N),
        training=bool(seeds) and all(len(by_seed_S) > 1 for by_seed_S in seeds),
    )


def over_seeds(by_seed_S: np.ndarray) -> Variance:
    """Of the mean over seeds: s^2 / S, of S - 1 degrees of freedom."""
    return Variance(float(by_seed_S.var(ddof=1)) / len(by_seed_S), len(by_seed_S) - 1.0)


def _expect_groups(clusters: Clusters) -> None:
    for what, grouping in (("user", clusters.users), ("item", clusters.items)):
        if len(grouping) < LEAST_GROUPS:
            raise ExperimentError(
                f"an interval needs rows of at least {LEAST_GROUPS} {what}s; received those of"
                f" {len(grouping)}. Run more days, or widen evaluation.start and end."
            )
