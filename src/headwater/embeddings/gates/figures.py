"""Figures of snapshots, alone or of two of one space.

Shape suffixes: N rows, D width of a vector, Q entities that ask, K neighbours.
"""

from __future__ import annotations

import numpy as np

from headwater.embeddings.snapshot import Snapshot, same_space

MOST_ASKING = 500
MOST_ASKED = 20_000


def effective_rank(vectors_ND: np.ndarray, sample: int = 20_000) -> float:
    """exp(entropy) of the normalised singular values of the centred vectors; 1 is a collapse.

    Roy & Vetterli 2007.
    """
    rows = vectors_ND[:: max(1, len(vectors_ND) // sample)].astype(np.float64)
    if len(rows) < 2:
        return float(vectors_ND.shape[1])
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    if values.sum() == 0:
        return 1.0
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def duplicate_share(snapshot: Snapshot) -> float:
    """Share of the rows whose vector is, byte for byte, another row's too."""
    if len(snapshot) == 0:
        return 0.0
    vectors_ND = np.ascontiguousarray(snapshot.vectors_ND)
    as_bytes = vectors_ND.view(f"V{vectors_ND.itemsize * vectors_ND.shape[1]}")
    _, counts = np.unique(as_bytes, return_counts=True)
    return float(counts[counts > 1].sum() / len(snapshot))


def neighbour_overlap(before: Snapshot, now: Snapshot, k: int, seed: int) -> float:
    """Mean share of an entity's `k` nearest that are its nearest in both snapshots.

    Nearest by cosine, exactly, among shared entities; 1 where fewer than two are shared. At most
    500 entities ask, among at most 20,000. Raises SpaceMismatch.
    """
    same_space(before, now)
    rng = np.random.default_rng(seed)
    rows, known = before.find(now.keys_N)
    among = sample_rows(int(known.sum()), MOST_ASKED, rng)
    if len(among) < 2:
        return 1.0
    k = max(1, min(k, len(among) - 1))
    asks_Q = sample_rows(len(among), MOST_ASKING, rng)
    before_QK = _nearest(before.vectors_ND[rows[known]][among], asks_Q, k)
    now_QK = _nearest(now.vectors_ND[known][among], asks_Q, k)
    return float((before_QK[:, :, None] == now_QK[:, None, :]).any(axis=2).mean())


def _nearest(vectors_ND: np.ndarray, asks_Q: np.ndarray, k: int) -> np.ndarray:
    """Rows [Q, K] of the `k` nearest to each that asks, but itself, in any order."""
    unit_ND = unit(vectors_ND)
    away_QN = -(unit_ND[asks_Q] @ unit_ND.T)
    # equal vectors tie: the same of them come first in both editions
    away_QN += np.linspace(0, 1e-6, len(unit_ND))
    away_QN[np.arange(len(asks_Q)), asks_Q] = np.inf
    return np.argpartition(away_QN, k - 1, axis=1)[:, :k]


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    """The vectors at length 1, float64; a vector of zeros stays one."""
    vectors_ND = vectors_ND.astype(np.float64)
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / np.where(norms > 0, norms, 1.0))


def sample_rows(n: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers of `n` rows, at most so many, ascending, without repetition."""
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))
