"""Upstream: what makes an entity's daily vectors. A seam of two methods.

`plan` says, without torch, what an upstream makes; `run` does a day of it, learning and embedding,
in whatever process an engine has chosen, from the keys that its job carries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from headwater.config import AnyUpstreamConfig
from headwater.digests import digest_of
from headwater.embeddings import Space
from headwater.embeddings.daily import DailyVectors, Training
from headwater.events import Examples
from headwater.events.examples import Listing
from headwater.events.kept import EncodedRows, open_ids, open_keys, open_listed
from headwater.schema import Schema


@dataclass(frozen=True)
class Declared:
    """What a plan is made from beside the upstream's own settings: the declared data, the seed, and
    a digest of what the numbers of its features, histories and labels stand for.
    """

    schema: Schema
    seed: int
    meaning: str

    def by_log(self, tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Some tasks by the log that they label, that of the first one first."""
        logs = dict.fromkeys(self.schema.tasks[task].log for task in tasks)
        return {
            log: tuple(task for task in tasks if self.schema.tasks[task].log == log) for log in logs
        }


@dataclass(frozen=True)
class Needs:
    """What a day of an upstream reads beside the rows that it learns from: everyone whom the tables
    of some entities list, and the rows of so many days up to today (edges of a graph, say).
    """

    listed: tuple[str, ...] = ()
    window_days: int = 1


@dataclass(frozen=True)
class UpstreamPlan:
    """What an upstream makes, and what of: no data, no weights.

    `tasks` are the labels that it learns from, by log, that of its first task first; `width` is
    that of its vectors; `temperature` what a cosine is divided by to become a score (None: 1), as
    declared: `temperature_after` also knows one that was learnt.
    Vectors of equal `signature` and first day live in one space. `detail` is the kind's own.
    """

    name: str
    kind: str
    entities: tuple[str, ...]
    width: int
    tasks: Mapping[str, tuple[str, ...]]
    signature: str
    seed: int
    needs: Needs = Needs()
    temperature: float | None = None
    detail: Any = None

    @property
    def logs(self) -> tuple[str, ...]:
        return tuple(self.tasks)

    def embedding(self, entity: str) -> str:
        """What an entity's vectors are called: `ctr_user`."""
        return f"{self.name}_{entity}"

    def temperature_after(self, training: Training | None) -> float:
        """What a cosine of the vectors of a day's training is divided by to become a score."""
        learnt = None if training is None else training.temperature
        return learnt or self.temperature or 1.0

    def space(self, first_day: dt.date) -> Space:
        """A space is one training run: these settings, begun on that day."""
        return Space(self.name, digest_of(self.signature, first_day), self.width, first_day)


@dataclass(frozen=True)
class UpstreamJob:
    """A day's work of one upstream, for an engine: keys and settings, no arrays.

    `learn` are rows whose labels are known since today, `shown` the rows of its logs up to today,
    over as many days as the plan needs, oldest first. `before` is the folder of yesterday's state
    (None: the space begins today), `folder` that of today's. `ids` hold the original ids of whom
    today's rows show, by entity; `listed` everyone whom a table lists and who exists, of the
    entities that the plan needs; `to_come` whom the tables know of and who do not exist yet.
    """

    plan: UpstreamPlan
    day: dt.date
    learn: tuple[EncodedRows, ...]
    shown: tuple[EncodedRows, ...]
    ids: Mapping[str, Path]
    before: Path | None
    folder: Path
    fingerprint: str
    listed: Mapping[str, Path] = field(default_factory=dict)
    to_come: Mapping[str, Path] = field(default_factory=dict)

    def rows_to_learn(self) -> tuple[Examples, ...]:
        return tuple(rows.open() for rows in self.learn)

    def rows_shown(self) -> tuple[Examples, ...]:
        return tuple(rows.open() for rows in self.shown)

    def ids_of(self, entity: str) -> tuple[np.ndarray, pl.Series]:
        """Keys [N], ascending, of whom today's rows show, and the ids that they stand for."""
        return open_ids(self.ids[entity])

    def listed_of(self, entity: str) -> Listing:
        """Everyone whom the entity's table lists and who exists, with features and histories as of
        today's end.
        """
        return open_listed(self.listed[entity])

    def to_come_of(self, entity: str) -> np.ndarray:
        """Keys [M], ascending, of whom the entity's table tells that they exist later: they get no
        vector, and are nobody's negatives.
        """
        path = self.to_come.get(entity)
        return np.zeros(0, np.uint64) if path is None else open_keys(path)


@dataclass(frozen=True)
class UpstreamResult:
    """The fresh vectors of a day, one value an entity, and how the learning went. What the next day
    goes on from lies in the job's folder.
    """

    vectors: tuple[DailyVectors, ...]
    training: Training = field(default_factory=Training)


class Upstream(Protocol):
    """A kind of upstream: `derm`, or another package's as `package.module:Class`, which is made
    without arguments.
    """

    def plan(self, name: str, settings: AnyUpstreamConfig, declared: Declared) -> UpstreamPlan:
        """What the upstream `name` makes under its settings. Without torch. Raises ConfigError."""

    def run(self, job: UpstreamJob) -> UpstreamResult:
        """Learn and embed a day, and leave in `job.folder` what the next day goes on from, whole or
        not at all. A job that was finished before is recognised and not learnt again.

        Deterministic: the same job gives the same bytes. Raises ModelError.
        """
