"""One day's merge of one bucket, as arrays. Shapes: B rows of yesterday, T rows of today."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Meeting:
    """Yesterday's keys and today's, met: which of today's are `known_T`, in which row `rows_T` of
    yesterday, and which rows of yesterday are `kept_B` (seen again, or not yet expired).
    """

    known_T: np.ndarray
    rows_T: np.ndarray
    kept_B: np.ndarray


def meet(
    keys_B: np.ndarray, seen_B: np.ndarray, keys_T: np.ndarray, day: int, expire_days: int
) -> Meeting:
    """Both key arrays ascending and unique. An entity not seen for more than `expire_days` is
    dropped, unless seen today.
    """
    rows, known = find(keys_B, keys_T)
    kept = day - seen_B <= expire_days
    kept[rows[known]] = True
    return Meeting(known, rows, kept)


def find(keys_B: np.ndarray, keys_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of each key among ascending `keys_B` (any row where absent), and whether it is there."""
    if len(keys_B) == 0:
        return np.zeros(len(keys_T), np.int64), np.zeros(len(keys_T), bool)
    rows = np.minimum(np.searchsorted(keys_B, keys_T), len(keys_B) - 1)
    return rows, keys_B[rows] == keys_T


def merge_sorted(
    keys_B: np.ndarray, keys_T: np.ndarray, columns: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Two ascending, disjoint key arrays as one, with each pair of columns beside them."""
    places_T = np.searchsorted(keys_B, keys_T) + np.arange(len(keys_T))
    total = len(keys_B) + len(keys_T)
    from_B = np.ones(total, bool)
    from_B[places_T] = False

    def woven(of_B: np.ndarray, of_T: np.ndarray) -> np.ndarray:
        out = np.empty((total, *of_B.shape[1:]), of_B.dtype)
        out[places_T] = of_T
        out[from_B] = of_B
        return out

    return woven(keys_B, keys_T), [woven(of_B, of_T) for of_B, of_T in columns]
