"""Our policies written as plainly as can be, and settings of them to try."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

POLICIES: list[dict[str, Any]] = [
    {"kind": "ema", "weight": 0.8},
    {"kind": "ema", "weight": 0.2},
    {"kind": "ema", "half_life_days": 2.0},
    {"kind": "latest"},
    {"kind": "mean", "k": 3},
    {"kind": "last", "k": 3},
    {"kind": "ema", "weight": 0.5, "renormalize": True},
    {"kind": "ema", "weight": 0.5, "warm_up_days": 2},
    {"kind": "mean", "k": 2, "warm_up_days": 2},
]


class Twin:
    """The policies written as plainly as can be: a list of daily vectors an entity, folded anew
    every day.
    """

    def __init__(self, policy: dict[str, Any], expire: int) -> None:
        self.policy, self.expire, self.seen = (
            policy,
            expire,
            dict[Any, list[tuple[int, np.ndarray]]](),
        )

    def day(self, n: int, vectors: dict[Any, list[float]]) -> None:
        for value in [
            value
            for value, sights in self.seen.items()
            if n - sights[-1][0] > self.expire and value not in vectors
        ]:
            del self.seen[value]
        for value, vector in vectors.items():
            self.seen.setdefault(value, []).append((n, np.array(vector, np.float64)))

    def vector(self, value: Any) -> np.ndarray:
        policy, sights = self.policy, self.seen[value]
        warm = policy.get("warm_up_days", 0)
        old = [n for n, (day, _) in enumerate(sights) if day < warm]
        sights = sights[old[-1] :] if old else sights
        late = [vector for day, vector in sights]
        if old:  # whatever was seen in the warm-up was overwritten by the next sight within it
            late = late if len(sights) > 1 and sights[1][0] >= warm else late[:1]
        if policy["kind"] == "latest":
            return late[-1]
        if policy["kind"] == "mean":
            return np.mean(late[-policy["k"] :], axis=0)
        if policy["kind"] == "last":
            return np.array(late[: -policy["k"] - 1 : -1])
        unit = (
            (lambda x: x / max(np.linalg.norm(x), 1e-12))
            if policy.get("renormalize")
            else (lambda x: x)
        )
        average = unit(late[0])
        for (before, _), (day, vector) in itertools.pairwise(sights):
            weight = (
                2 ** (-(day - before) / policy["half_life_days"])
                if "half_life_days" in policy
                else policy["weight"]
            )
            average = unit(weight * average + (1 - weight) * vector)
        return average
