"""What methods make of wanted items: mean recall and NDCG over queries, and paired differences,
each with its interval over users and items. Shapes: M wanted items, a row for each that a query
wants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from headwater.evaluation import interval_of
from headwater.evaluation.clusters import Clusters
from headwater.evaluation.influence import mean_influence
from headwater.evaluation.interval import LEAST_GROUPS
from headwater.studies.retrieval.ranking import ndcg_shares, recall_shares

SHARES: Mapping[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "recall": recall_shares,
    "ndcg": ndcg_shares,
}


@dataclass(frozen=True)
class Wanted:
    """Who wanted which item on which day (an ordinal), by query; which items were cold; and by
    method the `places` at which it retrieved them, from 0 on, or a number above all k.
    """

    query_M: np.ndarray
    users_M: np.ndarray
    items_M: np.ndarray
    days_M: np.ndarray
    cold_M: np.ndarray
    places: Mapping[str, np.ndarray]

    def take(self, rows: np.ndarray) -> Wanted:
        return Wanted(
            self.query_M[rows],
            self.users_M[rows],
            self.items_M[rows],
            self.days_M[rows],
            self.cold_M[rows],
            {method: place_M[rows] for method, place_M in self.places.items()},
        )

    def group(self, name: str) -> Wanted:
        """`all` of them, the `warm` or the `cold` items."""
        return self if name == "all" else self.take(self.cold_M == (name == "cold"))


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, and the bounds of its interval. `needed`: of a difference whose interval
    holds zero, how many queries would show one of this size four times in five.
    """

    value: float
    low: float
    high: float
    needed: int | None = None


class Judge:
    """The methods on the same wanted items, so that their differences are paired.

    Metrics are named `recall_10`, `ndcg_50`. NaN where nothing is wanted, and the bounds where the
    items are of one user or one alone.
    """

    def __init__(self, wanted: Wanted, confidence: float) -> None:
        self._wanted = wanted
        self._confidence = confidence
        asking, query_M = np.unique(wanted.query_M, return_inverse=True)
        self.queries = len(asking)
        self._wanted_M = np.bincount(query_M)[query_M] if len(query_M) else query_M
        self._clusters = Clusters(wanted.users_M, wanted.items_M)

    def mean(self, method: str, metric: str) -> Estimate:
        """Over the queries that want any of the items."""
        return self._estimate(self._shares(method, metric))

    def difference(self, method: str, base: str, metric: str) -> Estimate:
        """The mean of one method less that of another, with the queries `needed`."""
        return self._estimate(self._shares(method, metric) - self._shares(base, metric))

    def _shares(self, method: str, metric: str) -> np.ndarray:
        name, k = metric.split("_")
        return SHARES[name](self._wanted.places[method], self._wanted_M, int(k))

    def _estimate(self, shares_M: np.ndarray) -> Estimate:
        if not self.queries:
            return Estimate(float("nan"), float("nan"), float("nan"))
        found = mean_influence(shares_M, 1 / self._wanted_M)
        if min(len(self._clusters.users), len(self._clusters.items)) < LEAST_GROUPS:
            return Estimate(found.value, float("nan"), float("nan"))
        made = interval_of(found, self._clusters, self._confidence)
        needed = made.rows_needed(self.queries, self._confidence) if made.value else None
        return Estimate(made.value, made.low, made.high, needed)
