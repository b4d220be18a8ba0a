"""What makes one variant of a consumer, and one day's work of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from headwater.config import DownstreamConfig
from headwater.digests import digest_of
from headwater.embeddings import View
from headwater.evaluation import Variant, are_judged
from headwater.events import BlockSpec, Examples
from headwater.events.kept import EncodedRows
from headwater.models.downstream.networks import RANKERS, Ranker, SequenceSpec
from headwater.models.training import Optimizers, begin, seeded
from headwater.nn import Stack
from headwater.plugins import resolve


@dataclass(frozen=True)
class RankerPlan:
    """All that makes one variant of a consumer, but no data.

    `widths` are those of every embedding there is.
    """

    consumer: str
    variant: Variant
    config: DownstreamConfig
    specs: Mapping[str, BlockSpec]
    widths: Mapping[str, int]
    seed: int
    sequence: SequenceSpec | None = None

    @property
    def tasks(self) -> dict[str, float]:
        """The tasks that it learns, and their weights; its own first."""
        return {self.config.task: 1.0, **self.config.also}

    def reads(self, rows: Examples) -> Examples:
        """The rows with no more of their histories than the ranker reads.

        They are lighter to send to another process.
        """
        if self.sequence is None:
            return rows.with_histories({})
        return rows.with_histories({"user": self.config.sequence.length})

    @property
    def signature(self) -> str:
        """Equal for plans whose weights may go on from each other's."""
        config = self.config.model_dump(mode="json", exclude={"variants", "seeds", "fall_back"})
        specs = {name: asdict(spec) for name, spec in self.specs.items()}
        return digest_of(
            self.consumer,
            asdict(self.variant),
            config,
            specs,
            dict(self.widths),
            self.seed,
            self.sequence,
        )

    def build(self, seeds: Sequence[int]) -> tuple[Stack[Ranker], Optimizers]:
        """The rankers of some seeds as one, and their optimisers, not trained yet."""
        stack = Stack([self._ranker(seed) for seed in seeds])
        optimizers = Optimizers(
            stack.module,
            self.config.learning_rate,
            self.config.id_learning_rate,
            self.config.weight_decay,
        )
        return stack, optimizers

    def _ranker(self, seed: int) -> Ranker:
        begin(seeded(self.seed, seed))
        return resolve("headwater.ranker", RANKERS, self.config.model)(
            self.specs, self.config, self.variant.embeddings, self.widths, self.sequence
        )


def judged_rows(rows: Examples, given: str | None, users_share: float) -> np.ndarray:
    """The rows where the label `given` is 1 (None: all), of the users that are judged."""
    judged = are_judged(rows.keys["user"], users_share)
    if given is not None:
        judged &= rows.labels[given] == 1
    return np.flatnonzero(judged)


@dataclass(frozen=True)
class RankerJob:
    """One day's work of some variants of one consumer (all their seeds), for an engine: keys and
    settings, no arrays.

    `before` is the folder of the consumer's last checkpoints, a folder for each variant; None at
    the start. What it predicts are the `judged_rows` of the `rows`. `taught`:
    whether the rows have anything to teach; without, the untrained model is kept.
    """

    plans: tuple[RankerPlan, ...]
    day: dt.date
    rows: EncodedRows
    view: View
    before: Path | None
    folder: Path
    fingerprint: str
    given: str | None = None
    taught: bool = True
    users_share: float = 1.0

    def to_predict(self) -> list[VariantTask]:
        """The work of each variant, with the rows in memory."""
        rows = self.rows.open()
        judged_N = judged_rows(rows, self.given, self.users_share)
        return self._with(rows if len(judged_N) == len(rows) else rows.take(judged_N))

    def to_learn(self) -> list[VariantTask]:
        """The work of each variant, with the rows that have a label in memory."""
        rows, tasks = self.rows.open(), tuple(self.plans[0].tasks)
        if self.taught:
            return self._with(rows.where_defined(tasks))
        nothing = rows.take(np.zeros(0, np.int64))
        return self._with(
            replace(nothing, labels={task: np.zeros(0, np.float32) for task in tasks})
        )

    def _with(self, rows: Examples) -> list[VariantTask]:
        read = self.plans[0].reads(rows)
        return [
            VariantTask(
                plan=plan,
                day=self.day,
                rows=read,
                view=self.view,
                before=None if self.before is None else self.before / plan.variant.name,
                folder=self.folder / plan.variant.name,
                fingerprint=self.fingerprint,
            )
            for plan in self.plans
        ]


@dataclass(frozen=True)
class VariantTask:
    """One day's work of one variant (all its seeds), with its rows in memory.

    `before` holds its last checkpoints; None at the start.
    """

    plan: RankerPlan
    day: dt.date
    rows: Examples
    view: View
    before: Path | None
    folder: Path
    fingerprint: str
