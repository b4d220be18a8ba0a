"""Recall and NDCG of retrieved items. Shapes: Q queries, N items, K retrieved, best first; M wanted
items, a row for each that a query wants.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from headwater.embeddings.aggregate import find

CHUNK = 2048  # queries scored at a time, so that scores of all items fit


def best_rows(
    scores: Callable[[slice], np.ndarray], queries: int, k: int, left_out: csr_array | None = None
) -> np.ndarray:
    """Rows [Q, k] of the highest scores, best first, ties by row (-1: no item is left). `scores`
    gives [some, N] of a slice of the queries; what `left_out` [Q, N] marks is not retrieved.
    """
    parts = []
    for start in range(0, queries, CHUNK):
        some = slice(start, min(start + CHUNK, queries))
        found = np.array(scores(some), np.float32)
        if left_out is not None:
            found[left_out[some].nonzero()] = -np.inf
        most = min(k, found.shape[1])
        rows = np.sort(np.argpartition(-found, most - 1, axis=1)[:, :most], axis=1)
        values = np.take_along_axis(found, rows, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        none_left = np.isneginf(np.take_along_axis(values, order, axis=1))
        rows = np.where(none_left, -1, np.take_along_axis(rows, order, axis=1))
        parts.append(np.pad(rows, ((0, 0), (0, k - most)), constant_values=-1))
    return np.concatenate(parts) if parts else np.zeros((0, k), np.int64)


def passing_over(rows_QK: np.ndarray, left_out: csr_array | None, k: int) -> np.ndarray:
    """The first k of each query's rows that `left_out` does not mark, [Q, k], -1 where there are
    fewer.
    """
    dropped_QK = rows_QK < 0
    if left_out is not None:
        dropped_QK |= hits_of(rows_QK, left_out)
    order = np.argsort(dropped_QK, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(rows_QK, order, axis=1)
    kept = np.where(np.take_along_axis(dropped_QK, order, axis=1), -1, kept)
    return np.pad(kept, ((0, 0), (0, k - kept.shape[1])), constant_values=-1)


def hits_of(rows_QK: np.ndarray, relevant: csr_array) -> np.ndarray:
    """Which of the retrieved are relevant, bool [Q, K]."""
    wide = np.int64(relevant.shape[1])  # a pair of query and item is one number
    queries = np.repeat(np.arange(relevant.shape[0]), np.diff(relevant.indptr))
    wanted = queries * wide + relevant.indices
    retrieved_QK = np.arange(len(rows_QK))[:, None] * wide + rows_QK
    return np.isin(retrieved_QK, wanted) & (rows_QK >= 0)


def places_of(rows_QK: np.ndarray, query_M: np.ndarray, column_M: np.ndarray) -> np.ndarray:
    """The place of each wanted item among its query's rows, from 0 on, [M]; K where it is not
    there. A `column_M` of -1 is of an item without a vector, which is never there.
    """
    queries, most = rows_QK.shape
    wide = np.int64(max(rows_QK.max(initial=0), column_M.max(initial=0)) + 1)
    there_QK = rows_QK >= 0
    retrieved = (np.arange(queries)[:, None] * wide + rows_QK)[there_QK]
    places = np.broadcast_to(np.arange(most), rows_QK.shape)[there_QK]
    order = np.argsort(retrieved)
    found, hit_M = find(retrieved[order], query_M * wide + column_M)
    hit_M &= column_M >= 0
    out_M = np.full(len(query_M), most, np.int32)
    out_M[hit_M] = places[order][found[hit_M]]
    return out_M


def recall_shares(place_M: np.ndarray, wanted_M: np.ndarray, k: int) -> np.ndarray:
    """What each wanted item adds to the recall@k of its query, which wants `wanted_M` in all, [M]:
    the sum over a query is the share of its wanted items among the first k.
    """
    return (place_M < k) / wanted_M


def ndcg_shares(place_M: np.ndarray, wanted_M: np.ndarray, k: int) -> np.ndarray:
    """What each wanted item adds to the NDCG@k of its query, [M]: 1 / log2(1 + place), places from
    1 on, over the sum of that in the best ranking there could be (Järvelin & Kekäläinen 2002,
    binary gains).
    """
    gains_K = 1 / np.log2(np.arange(2, k + 2))
    best = np.cumsum(gains_K)[np.minimum(wanted_M, k).astype(np.int64) - 1]
    return np.where(place_M < k, gains_K[np.minimum(place_M, k - 1)], 0.0) / best


def overlap(rows_QK: np.ndarray, truth_QK: np.ndarray) -> float:
    """Share of the items of `truth_QK` that `rows_QK` hold too, query by query."""
    shared = [
        len(np.intersect1d(found[found >= 0], true[true >= 0]))
        for found, true in zip(rows_QK, truth_QK, strict=True)
    ]
    return float(sum(shared) / max(1, int((truth_QK >= 0).sum())))
