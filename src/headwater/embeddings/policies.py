"""Policies: how an entity's daily vectors become what is kept and served. Shapes: N entities, D
width, W = depth x D, K steps.

A policy keeps a *state* of `depth` vectors an entity, side by side, and the number of `steps`
(daily vectors) that made it.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np

from headwater.config import (
    EmaPolicy,
    ForeignPolicy,
    LastPolicy,
    LatestPolicy,
    MeanPolicy,
    PolicyConfig,
    made_of_settings,
)
from headwater.embeddings.snapshot import Space, counted
from headwater.errors import ConfigError

Config = TypeVar("Config", bound=Any)
MOST_STEPS = 254  # the next one marks what was inferred


class Policy(ABC, Generic[Config]):
    """One step takes yesterday's states and today's daily vectors of the same entities to today's
    states. One of another package is made of its `settings`, a mapping.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def depth(self) -> int:
        """Vectors kept of an entity."""
        return 1

    @property
    def sequence(self) -> bool:
        """Whether consumers get all that is kept (newest first), or one vector."""
        return False

    def young(self, space: Space, day: dt.date) -> bool:
        """Whether a space is still in its warm-up, in which nothing is remembered."""
        return (day - space.opened).days < getattr(self.config, "warm_up_days", 0)

    def unseen(self, today_ND: np.ndarray) -> np.ndarray:
        """States [N, W], new arrays, of entities never seen before: a step from there (with 0
        steps) keeps the first sight as it is.
        """
        return np.zeros((len(today_ND), self.depth * today_ND.shape[1]), np.float32)

    @abstractmethod
    def step(
        self,
        states_NW: np.ndarray,
        steps_N: np.ndarray,
        today_ND: np.ndarray,
        gap_days_N: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """States and steps of entities seen today, and `gap_days_N` days ago (at least 1) before.
        Arguments are left as they are.
        """

    def point(self, states_NW: np.ndarray, steps_N: np.ndarray) -> np.ndarray:
        """The one vector, float32 [N, D], that stands for an entity in a search, a look-up and a
        gate.
        """
        return states_NW

    def _scaled(self, vectors_ND: np.ndarray) -> np.ndarray:
        if not self.config.renormalize:
            return vectors_ND
        return vectors_ND / np.maximum(
            np.linalg.norm(vectors_ND, axis=1, keepdims=True), np.float32(1e-12)
        )


class Ema(Policy[EmaPolicy]):
    """E(t) = w E(t-1) + (1 - w) daily(t) (DERM), written E(t-1) + (1 - w)(daily - E(t-1)) so that a
    constant stays one.

    With a half-life h, w = 2^(-gap / h): an entity not seen for g days forgets as much as g steps
    would.
    """

    def unseen(self, today_ND: np.ndarray) -> np.ndarray:
        return today_ND.copy()

    def step(
        self,
        states_NW: np.ndarray,
        steps_N: np.ndarray,
        today_ND: np.ndarray,
        gap_days_N: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        share: Any = np.float32(1 - self.config.weight)
        if self.config.half_life_days is not None:
            share = (1 - np.exp2(-gap_days_N / self.config.half_life_days)).astype(np.float32)[
                :, None
            ]
        moved = today_ND - states_NW
        moved *= share
        moved += states_NW
        return self._scaled(moved), _one_more(steps_N, MOST_STEPS)


class Latest(Policy[LatestPolicy]):
    """The newest vector overwrites."""

    def step(
        self,
        states_NW: np.ndarray,
        steps_N: np.ndarray,
        today_ND: np.ndarray,
        gap_days_N: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._scaled(today_ND), _one_more(steps_N, MOST_STEPS)


class _Window(Policy[Config]):
    """Keeps the last k daily vectors of an entity, newest first."""

    @property
    def depth(self) -> int:
        return int(self.config.k)

    def step(
        self,
        states_NW: np.ndarray,
        steps_N: np.ndarray,
        today_ND: np.ndarray,
        gap_days_N: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        width = today_ND.shape[1]
        return np.hstack([today_ND, states_NW[:, : (self.depth - 1) * width]]), _one_more(
            steps_N, self.depth
        )


class Mean(_Window[MeanPolicy]):
    """The mean of the last k daily vectors (the paper's AP, as we read it)."""

    def point(self, states_NW: np.ndarray, steps_N: np.ndarray) -> np.ndarray:
        if len(states_NW) == 0:
            return states_NW[:, : states_NW.shape[1] // self.depth]
        sums = states_NW.reshape(len(states_NW), self.depth, -1).sum(
            axis=1, dtype=np.float64
        )  # unfilled steps are zeros
        return self._scaled((sums / counted(steps_N)[:, None]).astype(np.float32))


class Last(_Window[LastPolicy]):
    """The last k daily vectors as a sequence for the consumer (as LoopFM gives them); the newest
    stands for the entity.
    """

    @property
    def sequence(self) -> bool:
        return True

    def point(self, states_NW: np.ndarray, steps_N: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(states_NW[:, : states_NW.shape[1] // self.depth])


POLICIES: dict[str, type[Policy[Any]]] = {"ema": Ema, "latest": Latest, "mean": Mean, "last": Last}


def make_policy(config: PolicyConfig) -> Policy[Any]:
    """The policy that a config asks for. Raises ConfigError for one of another package that is not
    there, cannot be made of its settings, or is none.
    """
    if not isinstance(config, ForeignPolicy):
        return POLICIES[config.kind](config)
    made = made_of_settings(config)
    if not isinstance(made, Policy):
        raise ConfigError(
            f"policy {config.kind!r}: should be a subclass of headwater.embeddings.Policy, received"
            f" {type(made).__name__}."
        )
    return made


def _one_more(steps_N: np.ndarray, most: int) -> np.ndarray:
    return np.minimum(steps_N.astype(np.int64) + 1, most).astype(np.uint8)
