"""Popularity in a retrieval's score, folded into the vectors.

So any index by cosine serves it. Shape suffixes: N items, M events, Q queries, D width, E = D + 2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headwater.embeddings import Space
from headwater.embeddings.aggregate import find
from headwater.index.base import unit


def counts_of(keys_N: np.ndarray, events_M: np.ndarray) -> np.ndarray:
    """How often each key stands among those of M events, int64 [N]."""
    found, counts = np.unique(events_M, return_counts=True)
    rows, known = find(found, keys_N)
    made = np.zeros(len(keys_N), np.int64)
    made[known] = counts[rows[known]]
    return made


def log_popularity(keys_N: np.ndarray, events_M: np.ndarray) -> np.ndarray:
    """log(1 + n), float32 [N], of how often each key stands among those of M events."""
    return np.log1p(counts_of(keys_N, events_M)).astype(np.float32)


def fold_items(vectors_ND: np.ndarray, bias_N: np.ndarray) -> np.ndarray:
    """[p, b, sqrt(r^2 - 1 - b^2)] / r, float32 [N, E], of unit vectors p and their biases b.

    r^2 is 1 + max b^2. All have length 1, and the cosine with a folded query is (u.p + b) / (r sqrt
    2): the order by cosine is that by u.p + b (Bachrach et al. 2014, from inner products to nearest
    neighbours).
    """
    radius = fold_radius(bias_N)
    rest_N = np.sqrt(np.maximum(radius**2 - 1 - bias_N.astype(np.float64) ** 2, 0))
    return np.asarray(
        np.hstack([unit(vectors_ND), bias_N[:, None], rest_N[:, None]]) / radius, np.float32
    )


def fold_radius(bias_N: np.ndarray) -> float:
    """r = sqrt(1 + max b^2)."""
    return float(np.sqrt(1 + (bias_N.astype(np.float64) ** 2).max(initial=0)))


def fold_queries(queries_QD: np.ndarray) -> np.ndarray:
    """[u, 1, 0] / sqrt 2, float32 [Q, E]."""
    ones_Q1 = np.ones((len(queries_QD), 1))
    zeros_Q1 = np.zeros((len(queries_QD), 1))
    return np.asarray(np.hstack([unit(queries_QD), ones_Q1, zeros_Q1]) / np.sqrt(2), np.float32)


def unfold(cosines: np.ndarray, folded_E: np.ndarray) -> np.ndarray:
    """u.p + b of the cosines of folded queries with folded items.

    `folded_E` is any one item of that index, which tells r.
    """
    return cosines * np.sqrt(2) / np.linalg.norm(folded_E[:-2])


def folded_space(space: Space) -> Space:
    """The space of vectors after folding: two wider."""
    return replace(space, width=space.width + 2)
