"""Where a day's fresh vectors come from: upstreams that learn and embed, or another lane's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from headwater.console import Console
from headwater.digests import digest_of
from headwater.embeddings import Snapshot
from headwater.embeddings.aggregate import find
from headwater.embeddings.daily import Training
from headwater.engine import Engine
from headwater.errors import ModelError, StoreError
from headwater.events.examples import distinct_ids
from headwater.events.kept import keep_ids, keep_keys, keep_listed
from headwater.models.upstream import UpstreamJob, UpstreamPlan, kind_of
from headwater.pipeline.inputs import DayInputs, DayReader, EncodedDay
from headwater.schema import Schema
from headwater.store import Daily, Edition, Tombstones, read_daily, write_daily
from headwater.store.dailies import digests_in, read_made, write_made
from headwater.workspace import Workspace


@dataclass(frozen=True)
class DailyResult:
    """A day's fresh vectors by name and, by upstream, the checkpoints that made them, where they
    lie, and how the learning went.
    """

    daily: Mapping[str, Daily]
    models: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Training] = field(default_factory=dict)


class VectorSource(Protocol):
    """All that a backtest changes of a day."""

    def daily(self, inputs: DayInputs, before: Edition | None) -> DailyResult:
        """The fresh vectors of the day; `before` is the edition that the day builds upon."""


class FromLane:
    """The vectors that another workspace's lane had on the same day: nothing is trained."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def daily(self, inputs: DayInputs, before: Edition | None) -> DailyResult:
        return DailyResult(self._workspace.daily_of(inputs.day))


@dataclass(frozen=True)
class DailyJob:
    """One upstream's day with where its vectors go, for an engine."""

    work: UpstreamJob
    out: Path
    bucket_rows: int
    erased: Tombstones


class Trained:
    """Every upstream goes on from its last checkpoint: the same space. One that has made just this
    already is recognised, so a replay under another policy trains none.
    """

    def __init__(
        self,
        plans: Mapping[str, UpstreamPlan],
        workspace: Workspace,
        reader: DayReader,
        engine: Engine,
        console: Console,
    ) -> None:
        self._plans, self._reader = plans, reader
        self._workspace = workspace
        self._layout, self._schema = workspace.layout, workspace.schema
        self._bucket_rows = workspace.config.store.bucket_rows
        self._engine, self._console = engine, console

    def daily(self, inputs: DayInputs, before: Edition | None) -> DailyResult:
        jobs = {name: self._job(plan, inputs, before) for name, plan in self._plans.items()}
        pending = [job for job in jobs.values() if not is_made(job)]
        with self._console.progress(f"{inputs.day} upstream", len(pending)) as bar:
            for _ in self._engine.map(make_daily, pending):
                bar.advance()
        daily: dict[str, Daily] = {}
        for job in jobs.values():
            found = read_daily(job.out, inputs.day)
            assert found is not None
            daily |= found
        return DailyResult(
            daily,
            {name: self._layout.shared_key(job.work.folder) for name, job in jobs.items()},
            {name: self._layout.key(job.out) for name, job in jobs.items()},
            {name: read_made(job.out).training for name, job in jobs.items()},
        )

    def _job(self, plan: UpstreamPlan, inputs: DayInputs, before: Edition | None) -> DailyJob:
        """An upstream's work of the day, in folders named by what it learns from: the same again is
        recognised.
        """
        day, last = inputs.day, before.models.get(plan.name) if before is not None else None
        learn = _to_learn(plan, self._schema, inputs)
        shown = [rows for log in plan.logs for rows in self._shown(plan, log, inputs)]
        listings = {
            entity: self._reader.events.listing(
                plan.logs[0], entity, day, partial(_sighted, entity, inputs, before)
            )
            for entity in plan.needs.listed
        }
        to_come = {entity: self._reader.events.to_come(entity, day) for entity in plan.entities}
        read = [rows.examples.digest() for rows in (*learn, *shown)]
        read += [listed.digest() for listed in listings.values()]
        read += _too_early(to_come, [*learn, *shown])
        fingerprint = digest_of(plan.signature, day, read, last)
        out = self._layout.daily(day, plan.name, fingerprint)
        work = UpstreamJob(
            plan=plan,
            day=day,
            learn=tuple(rows.rows for rows in learn),
            shown=tuple(rows.rows for rows in shown),
            ids={entity: self._ids(plan, entity, inputs, fingerprint) for entity in plan.entities},
            before=self._layout.root / last if last is not None else None,
            folder=self._layout.checkpoint(plan.name, day, fingerprint),
            fingerprint=fingerprint,
            listed={
                entity: self._beside(plan, day, f"{entity}.listed", fingerprint)
                for entity in listings
            },
            to_come={
                entity: self._beside(plan, day, f"{entity}.to_come.npy", fingerprint)
                for entity, keys in to_come.items()
                if len(keys)
            },
        )
        for entity, listed in listings.items():
            keep_listed(work.listed[entity], listed)
        for entity, path in work.to_come.items():
            keep_keys(path, to_come[entity])
        return DailyJob(work, out, self._bucket_rows, self._workspace.tombstones())

    def _shown(self, plan: UpstreamPlan, log: str, inputs: DayInputs) -> list[EncodedDay]:
        """The rows of a log up to today, over the days that the plan needs, of those that were
        run.
        """
        ages = range(plan.needs.window_days - 1, 0, -1)
        days = [inputs.day - dt.timedelta(days=age) for age in ages]
        earlier = [self._reader.encoded(log, of, inputs.day) for of in days if of in inputs.done]
        return [*earlier, inputs.encoded[log, inputs.day]]

    def _ids(self, plan: UpstreamPlan, entity: str, inputs: DayInputs, fingerprint: str) -> Path:
        path = self._beside(plan, inputs.day, f"{entity}.ids", fingerprint)
        keep_ids(path, *distinct_ids([inputs.events[log] for log in plan.logs], entity))
        return path

    def _beside(self, plan: UpstreamPlan, day: dt.date, what: str, fingerprint: str) -> Path:
        """Where an upstream's job finds what it carries the path of. Lanes and backtests, which
        share the encoded days, may show an upstream of the same name other rows.
        """
        return self._reader.cache.beside(day, f"{plan.name}-{fingerprint[:16]}.{what}")


def _sighted(
    entity: str, inputs: DayInputs, before: Edition | None, keys_N: np.ndarray
) -> np.ndarray:
    """Which of some keys a log has shown until the end of the day: today's rows of any log, or
    those before, as the edition that the day builds upon remembers.
    """
    events = [rows for rows in inputs.events.values() if entity in rows.log.entities]
    found = np.zeros(len(keys_N), bool)
    for rows in events:
        found |= np.isin(keys_N, rows.keys(entity))
    if before is not None:
        for name, entry in before.snapshots.items():
            if entry["entity"] == entity:
                found |= find(before.part(name).keys, keys_N)[1]
    return found


def _too_early(to_come: Mapping[str, np.ndarray], days: Sequence[EncodedDay]) -> list[str]:
    """A digest for each entity of whom rows show before their table says that they exist: that
    shapes what is made of the rows. (Of the others that are to come nothing is made, whoever they
    are.)
    """
    found = []
    for entity, keys in to_come.items():
        early = [keys[np.isin(keys, rows.examples.keys[entity])] for rows in days if len(keys)]
        if any(map(len, early)):
            found.append(digest_of(entity, np.unique(np.concatenate(early))))
    return found


def _to_learn(plan: UpstreamPlan, schema: Schema, inputs: DayInputs) -> list[EncodedDay]:
    """The rows with a label that matures today, oldest first within a log; each with the labels
    that mature with it, so that none is learnt twice.
    """
    found = []
    for log, names in plan.tasks.items():
        tasks = [schema.tasks[name] for name in names]
        for age in sorted({task.matures_days for task in tasks}, reverse=True):
            rows = inputs.encoded.get((log, inputs.day - dt.timedelta(days=age)))
            if rows is not None:
                of_age = [task.name for task in tasks if task.matures_days == age]
                found.append(rows.with_labels(of_age))
    return found


def is_made(job: DailyJob) -> bool:
    """Whether the vectors of a job, and what the next day goes on from, lie there to the byte."""
    try:
        kept = read_daily(job.out, job.work.day)
        if kept is None or read_made(job.out).state != digests_in(job.work.folder):
            return False
        for daily in kept.values():
            daily.segment.verify()
    except StoreError:  # damaged: made again
        return False
    return True


def make_daily(job: DailyJob) -> None:
    """Learn and embed in this process, and keep the vectors. Raises ModelError, SnapshotError."""
    work = job.work
    result = kind_of(work.plan.kind).run(work)
    snapshots = [vectors.snapshot(work.day) for vectors in result.vectors]
    _expect_planned(work.plan, snapshots)
    snapshots = [_permitted(snapshot, work, job.erased) for snapshot in snapshots]
    write_daily(job.out, work.day, snapshots, job.bucket_rows)
    write_made(job.out, result.training, digests_in(work.folder))


def _permitted(snapshot: Snapshot, work: UpstreamJob, erased: Tombstones) -> Snapshot:
    """Those who exist and were not erased: an upstream may remember whom its rows do not show any
    more, and rows may show whom their table tells to exist later.
    """
    kept = ~erased.matches(snapshot.entity, snapshot.keys_N)
    kept &= ~np.isin(snapshot.keys_N, work.to_come_of(snapshot.entity))
    if kept.all():
        return snapshot
    return replace(
        snapshot,
        keys_N=snapshot.keys_N[kept],
        vectors_ND=snapshot.vectors_ND[kept],
        seen_N=snapshot.seen_N[kept],
        ids=snapshot.ids.filter(pl.Series(kept)),
        basis_N=None if snapshot.basis_N is None else snapshot.basis_N[kept],
    )


def _expect_planned(plan: UpstreamPlan, snapshots: list[Snapshot]) -> None:
    made = [
        (snapshot.entity, snapshot.space.upstream, snapshot.space.width) for snapshot in snapshots
    ]
    planned = [(entity, plan.name, plan.width) for entity in plan.entities]
    if made != planned:
        raise ModelError(
            f"upstream {plan.name} ({plan.kind}): its run should give the vectors that its plan"
            f" names, {planned} (entity, upstream, width). Received: {made}."
        )
