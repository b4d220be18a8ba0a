"""The factory's own retrieval, exact and through an index, with popularity in the score or without.
Shapes: Q queries, N items, D width.
"""

from __future__ import annotations

import datetime as dt

import numpy as np

from headwater.config import PriorConfig
from headwater.index import INDEXES, Index, fold_items, fold_queries, folded_space, unit
from headwater.plugins import resolve
from headwater.studies.retrieval.days import RetrievalDay
from headwater.studies.retrieval.ranking import best_rows, passing_over


def bias_of(day: RetrievalDay, prior: PriorConfig) -> np.ndarray:
    """What popularity adds to the cosine of each item, [N]: temperature * weight * log(1 +
    positives of the last days that the edition saw).
    """
    popularity_N = day.popularity(prior.days, day.served + dt.timedelta(days=1))
    return day.temperature * prior.weight * popularity_N


def rank_exact(day: RetrievalDay, k: int, bias_N: np.ndarray | None) -> np.ndarray:
    """Rows [Q, k] by cosine + bias, every item compared."""
    items_ND, queries_QD = unit(day.points_ND), unit(day.queries_QD)
    added = 0 if bias_N is None else bias_N
    return best_rows(lambda some: queries_QD[some] @ items_ND.T + added, len(day), k, day.met)


def rank_through(kind: str, day: RetrievalDay, k: int, bias_N: np.ndarray | None) -> np.ndarray:
    """Rows [Q, k] as an index of this kind answers. What a query may not retrieve is asked for too,
    and dropped.
    """
    made: type[Index] = resolve("headwater.index", INDEXES, kind)
    items_ND = day.points_ND
    queries_QD = day.queries_QD
    space = day.space
    if bias_N is not None:
        items_ND = fold_items(items_ND, bias_N)
        queries_QD = fold_queries(queries_QD)
        space = folded_space(space)
    wide = k if day.met is None else k + int(np.diff(day.met.indptr).max(initial=0))
    rows_QK, _ = made.build(space, items_ND).search(queries_QD, wide, space)
    return passing_over(rows_QK, day.met, k)
