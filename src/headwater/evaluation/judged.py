"""Rows that were predicted before their labels were known. Shape suffix: N rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Judged:
    """Judged rows of one consumer, pooled over days.

    `scores[variant][seed]` are probabilities, [N]; days are proleptic ordinals (`date.toordinal`).
    `groups_N` are the keys of the rows that compete with one another, and `group` says in words
    what they are of; without them, they are of user and day. `replicate_of` says, where upstreams
    were trained under several seeds, from which of them each ranker's seed is (from 0 on).
    """

    labels_N: np.ndarray
    users_N: np.ndarray
    days_N: np.ndarray
    scores: Mapping[str, Mapping[int, np.ndarray]]
    items_N: np.ndarray
    times_us_N: np.ndarray | None = None
    groups_N: np.ndarray | None = None
    group: str = "user and day"
    replicate_of: Mapping[int, int] = field(default_factory=dict)

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
            None if self.groups_N is None else self.groups_N[rows_N],
            self.group,
            self.replicate_of,
        )

    @property
    def upstream_seeds(self) -> int:
        """Under how many seeds the upstreams were trained."""
        return max(1, len(set(self.replicate_of.values())))

    def by_training(self, by_seed: Mapping[int, float]) -> np.ndarray:
        """A figure by independent training, from that of each seed of a ranker: itself, or the
        means of the replicates where upstreams were trained under several seeds.
        """
        if self.upstream_seeds == 1:
            return np.array(list(by_seed.values()))
        by_replicate: dict[int, list[float]] = {}
        for seed, value in by_seed.items():
            by_replicate.setdefault(self.replicate_of[seed], []).append(value)
        return np.array([float(np.mean(values)) for values in by_replicate.values()])

    @cached_property
    def day_strata(self) -> np.ndarray:
        """Each row's day, numbered from 0 on, [N]."""
        return np.unique(self.days_N, return_inverse=True)[1]

    @cached_property
    def group_strata(self) -> np.ndarray:
        """Each row's group, numbered from 0 on, [N]; one that reaches over midnight is two, for
        the models of two days scored it.
        """
        keys_N = self.users_N if self.groups_N is None else self.groups_N
        number_N = np.unique(keys_N, return_inverse=True)[1].astype(np.int64)
        both_N = number_N * (int(self.day_strata.max(initial=0)) + 1) + self.day_strata
        return np.unique(both_N, return_inverse=True)[1]

    @property
    def has_two_classes(self) -> bool:
        return len(self.labels_N) > 0 and 0 < self.labels_N.mean() < 1
