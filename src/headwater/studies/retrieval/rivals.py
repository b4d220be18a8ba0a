"""What retrieval has to beat: popularity, and the matrix factorisations of the library `implicit`.
Shapes: Q queries, N items, F factors.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from headwater.embeddings.aggregate import find
from headwater.studies.retrieval.days import RetrievalDay
from headwater.studies.retrieval.ranking import CHUNK, best_rows

POPULARITY_DAYS = (1, 3, 7, None)
UNKNOWN = np.float32(-1e6)  # of an item that a factorisation never met: after all others


@dataclass(frozen=True)
class Factorisation:
    """One setting of one of implicit's models. `seed_weight` is that of a positive from before the
    log, beside 1 of the log's own.
    """

    kind: str
    factors: int
    regularization: float
    iterations: int
    strength: float
    seed_weight: float = 0.1

    def __str__(self) -> str:
        last = "alpha" if self.kind == "ALS" else "learning rate"
        return (
            f"{self.factors} factors, regularisation {self.regularization:g}, {self.iterations}"
            f" iterations, {last} {self.strength:g}"
        )

    def fit(self, day: RetrievalDay, fallback_N: np.ndarray) -> Fitted:
        """Learns the positives of every day before; users it does not know get the `fallback_N`."""
        people, items, matrix = positives_before(day, self.seed_weight)
        model = _model(self)
        model.fit(matrix, show_progress=False)
        users, known_Q = find(people, day.users_Q)
        columns, known_N = find(items, day.items_N)
        return Fitted(
            day=day,
            users_QF=np.asarray(model.user_factors)[users],
            items_NF=np.asarray(model.item_factors)[columns],
            known_Q=known_Q,
            known_N=known_N,
            fallback_N=fallback_N,
        )


@dataclass(frozen=True)
class Fitted:
    """A factorisation of all before a day, for its queries and candidates."""

    day: RetrievalDay
    users_QF: np.ndarray
    items_NF: np.ndarray
    known_Q: np.ndarray
    known_N: np.ndarray
    fallback_N: np.ndarray

    def rank(self, k: int, bias_N: np.ndarray | None = None) -> np.ndarray:
        """Rows [Q, k] by u.v or, with a bias, by u.v / (its standard deviation) + bias."""
        scale = 1.0 if bias_N is None else self._deviation() or 1.0
        added_N = 0.0 if bias_N is None else bias_N

        def scores(some: slice) -> np.ndarray:
            found = self.users_QF[some] @ self.items_NF.T / scale + added_N
            found = np.where(self.known_N, found, UNKNOWN + self.fallback_N)
            return np.where(self.known_Q[some, None], found, self.fallback_N)

        return best_rows(scores, len(self.day), k, self.day.met)

    def _deviation(self) -> float:
        """The standard deviation of scores, over some of the users that are known."""
        sample = self.users_QF[self.known_Q][:CHUNK] @ self.items_NF[self.known_N].T
        return float(sample.std())


# Tried on the days before the judged ones. The first is what wide searches found good
# (docs/downstream.md).
SETTINGS: dict[str, tuple[Factorisation, ...]] = {
    "ALS": (
        Factorisation("ALS", 16, 1.0, 30, 80.0),
        Factorisation("ALS", 32, 3.0, 15, 40.0, 0.3),
        Factorisation("ALS", 8, 30.0, 15, 10.0),
    ),
    "BPR": (
        Factorisation("BPR", 64, 0.01, 60, 0.2, 1.0),
        Factorisation("BPR", 64, 0.03, 50, 0.03, 1.0),
    ),
}
WEIGHTS = (0.25, 0.5, 1.0)  # of popularity beside a factorisation's scores, tried on the same days


def implicit_is_here() -> bool:
    return importlib.util.find_spec("implicit") is not None


def positives_before(
    day: RetrievalDay, seed_weight: float
) -> tuple[np.ndarray, np.ndarray, csr_matrix]:
    """Keys of users and of items, ascending, and their positives before the day, [users, items]: 1
    from the log, `seed_weight` from before it.
    """
    past, seed = day.past.positives, day.seed.positives
    people, rows = np.unique(np.concatenate([seed.users_M, past.users_M]), return_inverse=True)
    items, columns = np.unique(np.concatenate([seed.items_M, past.items_M]), return_inverse=True)
    of_seed = np.full(len(seed), seed_weight, np.float32)
    weights = np.concatenate([of_seed, np.ones(len(past), np.float32)])
    summed = csr_array((weights, (rows, columns)), shape=(len(people), len(items)))
    summed.sum_duplicates()
    summed.data = np.minimum(summed.data, 1)
    return people, items, csr_matrix(summed)


def _model(settings: Factorisation) -> Any:
    """One thread and a fixed seed: the same figures every time."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking

    same: dict[str, Any] = {
        "factors": settings.factors,
        "regularization": settings.regularization,
        "iterations": settings.iterations,
        "random_state": 0,
        "num_threads": 1,
    }
    if settings.kind == "ALS":
        return AlternatingLeastSquares(alpha=settings.strength, **same)
    return BayesianPersonalizedRanking(learning_rate=settings.strength, **same)


def popularity_of(day: RetrievalDay, window: int | None) -> np.ndarray:
    """Of the candidates, [N]: positives of the last `window` days (None: all), ties by those of all
    days, as logarithms.
    """
    return day.popularity(window) + 1e-3 * day.popularity(None)


def popular(day: RetrievalDay, k: int, window: int | None) -> np.ndarray:
    """The same for everyone: the most positives of the last `window` days (None: all), ties by
    those of all days.
    """
    scores_N = popularity_of(day, window)
    return best_rows(
        lambda some: np.tile(scores_N, (some.stop - some.start, 1)), len(day), k, day.met
    )
