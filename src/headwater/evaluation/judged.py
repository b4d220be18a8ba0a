"""Rows that were predicted before their labels were known. Shape suffix: N rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Judged:
    """Judged rows of one consumer, pooled over days.

    `scores[variant][seed]` are probabilities, [N]; days are proleptic ordinals (`date.toordinal`).
    """

    labels_N: np.ndarray
    users_N: np.ndarray
    days_N: np.ndarray
    scores: Mapping[str, Mapping[int, np.ndarray]]
    items_N: np.ndarray
    times_us_N: np.ndarray | None = None

    def day(self, row: int) -> dt.date:
        return dt.date.fromordinal(int(self.days_N[row]))

    def take(self, rows_N: np.ndarray) -> Judged:
        """Some of the rows, in the order named."""
        scores = {
            variant: {seed: values[rows_N] for seed, values in by_seed.items()}
            for variant, by_seed in self.scores.items()
        }
        return Judged(
            self.labels_N[rows_N],
            self.users_N[rows_N],
            self.days_N[rows_N],
            scores,
            self.items_N[rows_N],
            None if self.times_us_N is None else self.times_us_N[rows_N],
        )

    @property
    def has_two_classes(self) -> bool:
        return len(self.labels_N) > 0 and 0 < self.labels_N.mean() < 1
