"""Recall and NDCG of retrieved items. Shapes: Q queries, N items, K retrieved, best first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

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


def recall_at(hits_QK: np.ndarray, relevant_Q: np.ndarray, k: int) -> np.ndarray:
    """Share of each query's relevant items among the first k, [Q]; NaN where it has none."""
    with np.errstate(invalid="ignore"):
        return hits_QK[:, :k].sum(axis=1) / np.where(relevant_Q > 0, relevant_Q, np.nan)


def ndcg_at(hits_QK: np.ndarray, relevant_Q: np.ndarray, k: int) -> np.ndarray:
    """sum of 1 / log2(1 + place) over the hits among the first k, over that of the best ranking
    there could be (Järvelin & Kekäläinen 2002, binary gains), [Q]; NaN where a query has no
    relevant item.
    """
    gains_K = 1 / np.log2(np.arange(2, k + 2))
    best_by_relevant = np.concatenate([[np.nan], np.cumsum(gains_K)])
    best_Q = best_by_relevant[np.minimum(relevant_Q, k).astype(np.int64)]
    first_QK = hits_QK[:, :k]
    return first_QK @ gains_K[: first_QK.shape[1]] / best_Q


def overlap(rows_QK: np.ndarray, truth_QK: np.ndarray) -> float:
    """Share of the items of `truth_QK` that `rows_QK` hold too, query by query."""
    shared = [
        len(np.intersect1d(found[found >= 0], true[true >= 0]))
        for found, true in zip(rows_QK, truth_QK, strict=True)
    ]
    return float(sum(shared) / max(1, int((truth_QK >= 0).sum())))
