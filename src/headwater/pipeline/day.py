"""The day, in order, and the replay of many days. Read `run_day` first: it is the table of contents
of Headwater.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headwater.config import (
    DownstreamConfig,
    FactoryConfig,
    UpstreamConfig,
    load_config,
    warehouse_of,
)
from headwater.console import SILENT, Console, timed
from headwater.digests import digest_of
from headwater.embeddings.gates import GateResult, Probe, check_evidence
from headwater.engine import Engine, make_engine
from headwater.errors import ConfigError, EditionConflict, EditionMissing, GateError, StoreError
from headwater.evaluation import Variant, metrics_of
from headwater.events import ExampleCache, ExampleReader, Examples
from headwater.events.examples import distinct_ids
from headwater.events.log import EventDay
from headwater.events.tables import matching_files
from headwater.files import exclusive, read_json, sweep_leftovers, write_json
from headwater.index import INDEXES
from headwater.lifecycle import (
    compact_where_due,
    evidence_of,
    finish_erasures,
    monitor_of,
    retire,
    switch_to,
)
from headwater.lifecycle.align import rotations_of
from headwater.lifecycle.erase import CACHE, Tombstones
from headwater.lifecycle.switch import REPORT, edition_of, forget_rankers, rankers_of
from headwater.models.downstream import (
    RankerPlan,
    SequenceSpec,
    VariantTask,
    fit_variant,
    predict_variant,
)
from headwater.models.training import day_seed, is_whole
from headwater.models.upstream import Past, UpstreamPlan, UpstreamTask, embed_day, fit_day, sizes_of
from headwater.nn import BLOCKS, HEADS
from headwater.pipeline.tracking import TRACKERS, track
from headwater.plugins import resolve
from headwater.schema import Schema, Task
from headwater.store import (
    MAIN,
    Catalog,
    Composed,
    Daily,
    Edition,
    EditionStore,
    EditionView,
    Entry,
    read_catalog,
)
from headwater.store.catalog import begin_catalog, home_of
from headwater.store.predictions import Judgements

ONE_DAY = dt.timedelta(days=1)
LAST_EDITIONS = 7  # what a day's counts are compared with
PROBE_ROWS = 10_000
PART_ROWS = 1 << 19  # encoded at a time
# days whose rankers are kept, and one of RANKERS_EVERY days before; others are made again when a
# replay or rollback needs them
KEEP_RANKERS = 2
RANKERS_EVERY = 7


@dataclass(frozen=True)
class DayInputs:
    """What a day reads, once: today's rows, and the earlier rows whose labels mature today, by
    (log, day).
    """

    day: dt.date
    events: Mapping[str, EventDay]
    examples: Mapping[tuple[str, dt.date], Examples]

    def digest(self) -> str:
        return digest_of(
            {
                f"{log} {day}": examples.digest()
                for (log, day), examples in sorted(self.examples.items())
            }
        )

    def matured(self, task: Task) -> Examples | None:
        """The rows whose label for `task` is known since today; None before the factory's first
        day.
        """
        return self.examples.get((task.log, self.day - dt.timedelta(days=task.matures_days)))


class Factory:
    """A factory on disk: its config, its data and its warehouse, seen from one of its lanes.

    `source` is another factory that this one backtests: it takes its daily vectors instead of
    training upstreams of its own, unless it `relearns` them. Its rankers are judged once for each
    of `stale_days`, with vectors that many days older than they would be served.
    """

    def __init__(
        self,
        config: FactoryConfig,
        root: Path,
        console: Console = SILENT,
        lane: str = MAIN,
        source: Factory | None = None,
        warehouse: Path | None = None,
        stale_days: tuple[int, ...] = (0,),
        relearns: bool = False,
    ) -> None:
        self.config, self.root, self.console, self.lane, self.source = (
            config.for_lane(lane),
            root,
            console,
            lane,
            source,
        )
        self.stale_days = stale_days
        self.lender = None if relearns else source
        self.schema = Schema.from_config(config, root)
        self.warehouse = warehouse or warehouse_of(config, root)
        self.home = home_of(self.warehouse, lane)
        self.store = EditionStore(self.home)
        self.read_tombstones()
        self.judgements = Judgements(self.home)
        self.embedding_names = self.schema.embedding_names()
        resolve("headwater.index", INDEXES, config.index.kind)  # before a day is trained in vain
        if config.tracking is not None:
            resolve("headwater.tracker", TRACKERS, config.tracking.kind)
        for upstream in self.config.upstreams.values():
            resolve("headwater.head", HEADS, upstream.heads)
            for block in itertools.chain(*upstream.dhen.layers):
                resolve("headwater.block", BLOCKS, block)

    def read_tombstones(self) -> None:
        """Who was erased until now: read again before every day, for another process may have
        erased someone since.
        """
        self.tombstones = Tombstones.read(
            self.warehouse if self.source is None else self.source.warehouse
        )
        self.log = ExampleReader(
            self.schema, self.config.zone, self.warehouse / "quarantine", self.tombstones.matches
        )
        self._cache: ExampleCache | None = None

    @property
    def cache(self) -> ExampleCache:
        """The encoded days of the data as it lies there now; backtests share their source's
        folder. Raises LogError where a file is missing.
        """
        if self._cache is None:
            paths = [
                *(log.paths for log in self.schema.logs.values()),
                *(entity.paths for entity in self.schema.entities.values() if entity.paths),
                *(
                    (history.seed.table,)
                    for history in self.schema.histories.values()
                    if history.seed
                ),
            ]
            made_from = (self.config.data_digest(), self.tombstones.digest)
            folder = (self.warehouse if self.source is None else self.source.warehouse) / CACHE
            self._cache = ExampleCache(
                folder,
                made_from,
                lambda: [file for group in paths for file in matching_files(group, "data")],
            )
        return self._cache

    @classmethod
    def load(cls, path: str | Path, console: Console = SILENT, lane: str = MAIN) -> Factory:
        """From a `factory.yaml`. Raises ConfigError."""
        path = Path(path)
        return cls(load_config(path), path.resolve().parent, console, lane)

    @cached_property
    def engine(self) -> Engine:
        return make_engine(self.config.workers)

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.close()

    # ---- the plans of the models -----------------------------------------------------------------

    def logs_of(self, upstream: str) -> tuple[str, ...]:
        """The logs that an upstream's tasks are of, that of its first task first."""
        return self.schema.upstream_logs[upstream]

    @cached_property
    def upstreams(self) -> dict[str, UpstreamPlan]:
        return {name: self._upstream(name, spec) for name, spec in self.config.upstreams.items()}

    def _upstream(self, name: str, spec: UpstreamConfig) -> UpstreamPlan:
        logs, entities, tasks = (
            self.logs_of(name),
            self.schema.upstream_entities[name],
            self.schema.tasks,
        )
        specs = {log: self.log.specs(log) for log in logs}
        declared = {log: self.schema.histories_of(log) for log in logs}
        histories = {
            entity: {
                log: Past(found[entity].of, len(found[entity].actions))
                for log, found in declared.items()
                if entity in found
            }
            for entity in entities
        }
        return UpstreamPlan(
            name,
            spec,
            {entity: specs[logs[0]][entity] for entity in entities},
            {log: specs[log]["context"] for log in logs},
            histories,
            {log: tuple(task for task in spec.tasks if tasks[task].log == log) for log in logs},
            {task: given.name for task in spec.tasks if (given := tasks[task].given) is not None},
            self.config.seed if spec.seed is None else spec.seed,
            self._meaning(spec, logs, entities),
        )

    def _meaning(self, spec: UpstreamConfig, logs: Sequence[str], entities: Sequence[str]) -> str:
        """Of what an upstream's inputs and labels are, as declared, in order; where the data lies
        is no part of it.
        """
        raw = self.config.model_dump(mode="json")
        histories = [history for history in raw["histories"].values() if history["log"] in logs]
        for history in histories:
            history.pop("seed")
        return digest_of(
            raw["time_zone"],
            [list(raw["entities"][entity]["features"].items()) for entity in entities],
            [list(raw["logs"][log]["features"].items()) for log in logs],
            histories,
            [raw["tasks"][task] for task in spec.tasks],
        )

    @cached_property
    def variants(self) -> list[RankerPlan]:
        widths = {
            f"{name}_{entity}": sizes_of(self.config.upstreams[name]).width
            for name, entities in self.schema.upstream_entities.items()
            for entity in entities
        }
        return [
            RankerPlan(
                consumer,
                Variant.parse(variant, self.embedding_names),
                spec,
                self.log.specs(self.config.tasks[spec.task].log),
                widths,
                self.config.seed,
                self._sequence(spec),
            )
            for consumer, spec in self.config.downstream.items()
            for variant in spec.variants
        ]

    def _sequence(self, spec: DownstreamConfig) -> SequenceSpec | None:
        history = self.schema.histories_of(self.config.tasks[spec.task].log).get("user")
        return (
            None
            if history is None or history.of != "item" or spec.sequence.length == 0
            else SequenceSpec(history.of, len(history.actions))
        )

    # ---- the days --------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        return read_catalog(self.warehouse)

    def report_path(self, day: dt.date) -> Path:
        return self.home / "reports" / f"{day}.json"

    def days_done(self) -> list[dt.date]:
        """The days that the catalog has; what other days left behind is not built upon."""
        return [entry.day for entry in self.catalog.lane(self.lane).days]

    def done_before(self, day: dt.date) -> list[dt.date]:
        return [known for known in self.days_done() if known < day]

    def entry(self, day: dt.date) -> Entry:
        """Raises EditionMissing."""
        found = self.catalog.lane(self.lane).get(day)
        if found is None:
            days = self.days_done()
            have = (
                f"There are {len(days)}, {days[0]} to {days[-1]}."
                if days
                else "There are none yet."
            )
            raise EditionMissing(
                f"no edition of {day} in {self.home}. {have} `headwater run --day {day}` makes it."
            )
        return found

    def edition(self, day: dt.date) -> Edition:
        """Raises EditionMissing, StoreError."""
        return edition_of(self.warehouse, self.lane, self.entry(day))

    def edition_if_kept(self, day: dt.date) -> Edition | None:
        return None if self.entry(day).folder is None else self.edition(day)

    def served_on(self, day: dt.date) -> EditionView:
        """What consumers read on `day`: the newest edition, of the days done, that was published
        `lag_days` before.
        """
        return self.as_of(day - dt.timedelta(days=self.config.lifecycle.lag_days))

    def as_of(self, day: dt.date) -> EditionView:
        """The store as a reader saw it at the end of `day`: its newest edition no later than that,
        or none.
        """
        entry = self.catalog.lane(self.lane).as_of(day)
        return EditionView(
            day, None if entry is None else edition_of(self.warehouse, self.lane, entry)
        )

    def run_day(self, day: dt.date, replay: bool = False, force: bool = False) -> dict[str, Any]:
        """Run one day; see `run_day`. With `replay`, every later day that was run is run again too;
        with `force`, an edition that a gate refuses is published all the same, and that is written
        down.

        A replay is written down before it begins: killed in the middle, the next run of any day
        finishes it first.
        """
        with exclusive(self.warehouse):
            begin_catalog(self.warehouse)
            sweep_leftovers(self.warehouse)
            finish_erasures(self.warehouse, self.config, self.schema)
            if (
                Tombstones.read(self.warehouse if self.source is None else self.source.warehouse)
                != self.tombstones
            ):
                self.read_tombstones()
            if (
                (pending := self._replays_pending())
                and (done_days := self.days_done())
                and pending[0] > done_days[-1]
            ):
                self._replay_path.unlink()  # the days that it should have renewed were rolled back
                pending = []
            if replay:
                again = sorted(
                    {day, *pending, *(known for known in self.days_done() if known > day)}
                )
                self.check_replay(again[0])
                for known in again:
                    read_day(
                        self, known
                    )  # a day that cannot be read must not cost the days that can
                write_json(self._replay_path, [str(known) for known in again])
            elif pending:
                self.console.log(
                    f"a replay was not finished: first {', '.join(map(str, pending))} again"
                    f" ({self._replay_path})"
                )
            done = self._finish_replay(force)
            if replay:
                return done[day]
            later = [known for known in self.days_done() if known > day]
            if later and day not in self.days_done():
                raise EditionConflict(
                    f"{day} was never run, but {later[0]} was; averages remember, so a day cannot"
                    f" be slipped in. `headwater run --day {day} --replace` runs it and replays the"
                    " later days."
                )
            return run_day(self, day, force=force)

    def check_replay(self, first: dt.date) -> None:
        """Raise StoreError where the days from `first` on cannot be run again, before anything is
        touched.
        """
        aligned = [entry.day for entry in self.catalog.lane(self.lane).days if entry.aligned]
        if aligned and first <= aligned[-1]:
            raise StoreError(
                f"{first}: the lane {self.lane!r} was aligned on {aligned[-1]}; days up to that one"
                " are not replayed, for the rotation was fitted on them. Replay later days, or run"
                " a new lane and align that."
            )
        before = self.done_before(first)
        if before and self.entry(before[-1]).folder is None:
            raise StoreError(
                f"{first}: the edition before it ({before[-1]}) has left the point-in-time window"
                " (lifecycle.keep_days), so it cannot be built upon. Replay a later day, or all"
                f" from the first one, {before[0]}."
            )
        for known in days_to_relearn(self, first):
            self.served_on(
                known
                - dt.timedelta(days=max(task.matures_days for task in self.schema.tasks.values()))
            )

    @property
    def _replay_path(self) -> Path:
        return self.home / "replay.json"

    def _replays_pending(self) -> list[dt.date]:
        return (
            [dt.date.fromisoformat(day) for day in read_json(self._replay_path)]
            if self._replay_path.is_file()
            else []
        )

    def _finish_replay(self, force: bool = False) -> dict[dt.date, dict[str, Any]]:
        """Run again, oldest first, the days that a replay (perhaps one that was killed) has still
        to do.
        """
        reports = {}
        while left := self._replays_pending():
            reports[left[0]] = run_day(self, left[0], replay=True, force=force)
            if left[1:]:
                write_json(self._replay_path, [str(known) for known in left[1:]])
            else:
                self._replay_path.unlink()
                retire(self.warehouse, self.config)
        return reports

    def daily_of(self, day: dt.date) -> dict[str, Daily]:
        """The daily vectors that the edition of a day was made of. Raises EditionMissing,
        StoreError.
        """
        entry, folder = self.entry(day), self.edition(day).daily
        found = self.store.read_daily(day, self.home / folder) if folder else None
        if found is None:
            raise StoreError(
                f"the daily snapshots of {entry.day} are gone; lifecycle.keep_days says how long"
                " they are kept."
            )
        return found

    def backfill(
        self, start: dt.date, end: dt.date, force: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Run the days from `start` to `end`; those done already are checked and left as they
        are.
        """
        if end < start:
            raise ConfigError(f"backfill: --from {start} is after --to {end}.")
        days = [start + n * ONE_DAY for n in range((end - start).days + 1)]
        with self.console.progress("backfill", len(days)) as bar:
            for day in days:
                bar.title(f"{day}")
                yield self.run_day(day, force=force)
                bar.advance()


def run_day(
    factory: Factory, day: dt.date, replay: bool = False, force: bool = False
) -> dict[str, Any]:
    """One day: judge, learn, embed, aggregate, gate, learn downstream, report, and the switch that
    makes it all true.

    Deterministic and resumable: each step writes whole or not at all under the fingerprint of its
    inputs, and the catalog, replaced last, marks the day as done. A day done from the same inputs
    is left as it is; from others, EditionConflict.
    """
    console, seconds = factory.console, dict[str, float]()
    with timed(seconds, "read"):
        inputs = read_day(factory, day)  # read once
    fingerprint = fingerprint_of(factory, inputs)
    if day in factory.days_done() and not replay:
        return leave_or_refuse(factory, day, fingerprint)
    with timed(seconds, "judge"):
        restore_downstream(factory, day)
        quality = judge(
            factory, inputs, fingerprint
        )  # yesterday's models on today's traffic: every day is an honest test
    with timed(seconds, "upstream"):
        models, losses = learn_upstream(factory, inputs)  # warm start: the same space
        daily = embed(factory, inputs, models)  # the last vector of the day
    with timed(seconds, "publish"):
        covered = coverage(factory, inputs)
        composed = compose(
            factory, day, daily, models, again=replay
        )  # aggregate: written, but nobody reads it yet
        forced, health = gate(factory, inputs, composed, daily, covered, force)  # may refuse
    with timed(seconds, "downstream"):
        learn_downstream(
            factory, inputs, fingerprint, replay
        )  # with what was served, never with today's vectors
    report = {
        "day": str(day),
        "fingerprint": fingerprint,
        "edition": composed.edition.digest,
        "upstream": losses,
        "quality": quality,
        "rows": {log: len(examples) for (log, d), examples in inputs.examples.items() if d == day},
        "rejected": {log: dict(events.rejected) for log, events in inputs.events.items()},
        "erased": {log: events.erased for log, events in inputs.events.items() if events.erased},
        "coverage": covered,
        "forced": forced,
        "snapshots": health,
    }
    publish(factory, composed.edition, report)  # the one switch
    if factory.source is None:
        track(
            factory.config.tracking,
            f"{factory.config.name}.{factory.lane}",
            factory.home,
            report,
            console,
        )
    tidy(factory, day, replay)
    console.log(
        f"[bold]{day}[/bold] published",
        **_headline(report),
        **{name: f"{value:.1f}s" for name, value in seconds.items()},
    )
    return report


def read_day(factory: Factory, day: dt.date) -> DayInputs:
    """Today's rows of every log that a model learns from or embeds, and the rows whose labels
    mature today.
    """
    tasks = factory.schema.tasks
    wanted = [task for spec in factory.config.upstreams.values() for task in spec.tasks]
    wanted += [spec.task for spec in factory.config.downstream.values()]
    run = {
        *factory.days_done(),
        day,
    }  # rows of a day that was skipped were never predicted, and are not learnt either
    days: dict[tuple[str, dt.date], None] = {(tasks[name].log, day): None for name in wanted}
    for name in dict.fromkeys(wanted):
        matures = day - dt.timedelta(days=tasks[name].matures_days)
        if matures in run:
            days[tasks[name].log, matures] = None
    events, examples = {}, {}
    for log, of in days:
        age = (day - of).days
        known = tuple(
            task.name for task in tasks.values() if task.log == log and task.matures_days <= age
        )
        found = factory.cache.get(log, of, known, matured=of < day)
        rows = factory.log.logs[log].day(of) if found is None or of == day else None
        if found is None and rows is not None:
            found = factory.cache.put(
                known, of < day, factory.log.parts(rows, known, day, PART_ROWS), len(rows)
            )
        if rows is not None and of == day:
            events[log] = rows
        assert found is not None
        examples[log, of] = found
    return DayInputs(day, events, examples)


def fingerprint_of(factory: Factory, inputs: DayInputs) -> str:
    """Of all that shapes the day: the config, what is read, and the day before, because averages
    remember.
    """
    before = factory.done_before(inputs.day)
    last = factory.entry(before[-1]) if before else None
    previous = last and last.fingerprint + last.aligned
    return digest_of(factory.config.digest(), inputs.day, inputs.digest(), previous)


def leave_or_refuse(factory: Factory, day: dt.date, fingerprint: str) -> dict[str, Any]:
    """A day done already: nothing to do if its inputs are the same. Raises EditionConflict if
    not.
    """
    entry = factory.entry(day)
    comparable = (
        entry.erasures == factory.tombstones.digest
    )  # who has been erased since is missing from its inputs now
    if comparable and entry.fingerprint != fingerprint:
        raise conflict(day, entry.fingerprint, fingerprint)
    if entry.folder is None:
        factory.console.log(
            f"[bold]{day}[/bold] was published, and has left the point-in-time window"
        )
        return {"day": str(day), "fingerprint": entry.fingerprint, "edition": entry.digest}
    edition = (
        edition_of(factory.warehouse, factory.lane, entry)
        if (factory.home / entry.folder / "manifest.json").is_file()
        else None
    )
    if edition is None or edition.digest != entry.digest:
        raise StoreError(
            f"day {day} was run, but its edition is gone or another. `headwater run --day {day}"
            " --replace` makes it again, and every later day."
        )
    switch_to(
        factory.warehouse, factory.config, factory.catalog
    )  # in case the run was killed amid the switch, or a store was lost
    note = "" if comparable else " (an entity was erased since, so its inputs cannot be compared)"
    factory.console.log(
        f"[bold]{day}[/bold] already published, unchanged{note}", edition=entry.digest[:12]
    )
    report: dict[str, Any] = read_json(factory.home / entry.folder / REPORT)
    return report


def conflict(day: dt.date, known: str, now: str) -> EditionConflict:
    return EditionConflict(
        f"edition {day} is published, and was made from other inputs than it would be now"
        f" (fingerprint {known[:12]}, now {now[:12]}): the log, an entity table, the config or an"
        f" earlier edition has changed. Put the inputs back, or run `headwater run --day {day}"
        " --replace`, which replays every later day too."
    )


# ---- judge ---------------------------------------------------------------------------------------


def judge(factory: Factory, inputs: DayInputs, fingerprint: str) -> dict[str, Any]:
    """Every variant predicts today's rows as its consumer would have served them; predictions meet
    their labels when those mature.
    """
    asked = [(plan, stale) for plan in factory.variants for stale in factory.stale_days]
    views = {
        stale: factory.as_of(
            inputs.day - dt.timedelta(days=factory.config.lifecycle.lag_days + stale)
        )
        for stale in {0, *factory.stale_days}
    }
    rows = {
        consumer: _rows_to_predict(factory, inputs, consumer)
        for consumer in factory.config.downstream
    }
    tasks = [
        VariantTask(
            plan,
            inputs.day,
            plan.reads(
                inputs.examples[factory.config.tasks[plan.config.task].log, inputs.day].take(
                    rows[plan.consumer]
                )
            ),
            views[stale],
            _last_checkpoint(factory, plan, inputs.day),
            _variant_folder(factory, plan, inputs.day),
            fingerprint,
        )
        for plan, stale in asked
    ]
    scores: dict[str, dict[str, dict[int, np.ndarray]]] = {}
    with factory.console.progress(f"{inputs.day} judge", len(tasks)) as bar:
        for (plan, stale), of_variant in zip(
            asked, factory.engine.map(predict_variant, tasks), strict=True
        ):
            scores.setdefault(plan.consumer, {})[stale_name(plan.variant.name, stale)] = of_variant
            bar.advance()
    quality: dict[str, Any] = {}
    for consumer, by_variant in scores.items():
        task = factory.schema.tasks[factory.config.downstream[consumer].task]
        read = None if (edition := views[0].edition) is None else factory.entry(edition.day)
        factory.judgements.predicted(
            consumer, inputs.examples[task.log, inputs.day], rows[consumer], by_variant, read
        )
        matured = inputs.matured(task)
        if matured is not None:
            judged = factory.judgements.settle(consumer, matured, task.name)
            quality[consumer] = {
                "day": str(matured.day),
                "rows": len(judged.labels_N),
                "roc_auc": {
                    variant: _mean_auc(judged.labels_N, by_seed)
                    for variant, by_seed in judged.scores.items()
                },
            }
    return quality


def stale_name(variant: str, days: int) -> str:
    """What the predictions of a variant with vectors that many days older than usual are called."""
    return f"{variant} frozen {days} days" if days else variant


def _rows_to_predict(factory: Factory, inputs: DayInputs, consumer: str) -> np.ndarray:
    """All of today's rows or, where the task is given another that is known today, the rows where
    that one is 1.
    """
    task = factory.schema.tasks[factory.config.downstream[consumer].task]
    examples = inputs.examples[task.log, inputs.day]
    if task.given is not None and task.given.name in examples.labels:
        return np.flatnonzero(examples.labels[task.given.name] == 1)
    return np.arange(len(examples))


def _mean_auc(labels_N: np.ndarray, by_seed: Mapping[int, np.ndarray]) -> float | None:
    value = float(np.mean([metrics_of(labels_N, scores).roc_auc for scores in by_seed.values()]))
    return None if np.isnan(value) else value


# ---- upstream ------------------------------------------------------------------------------------


def _upstream_tasks(factory: Factory, inputs: DayInputs) -> dict[str, UpstreamTask]:
    """Each upstream's work of the day, in a folder named by what it learns from: the same again is
    recognised.
    """
    made, tasks = {}, factory.schema.tasks
    earlier = factory.done_before(inputs.day)
    last = factory.edition(earlier[-1]).models if earlier else {}
    for name, plan in factory.upstreams.items():
        matures = {(tasks[task].log, tasks[task].matures_days) for task in plan.config.tasks}
        learn = [
            inputs.examples.get((log, inputs.day - dt.timedelta(days=age)))
            for log in plan.logs
            for age in sorted((age for of, age in matures if of == log), reverse=True)
        ]
        of_age = [
            _only(examples, plan, factory, inputs.day) for examples in learn if examples is not None
        ]
        show = tuple(inputs.examples[log, inputs.day] for log in plan.logs)
        catalogs = {
            str(entity): factory.log.catalog(plan.logs[0], entity, inputs.day)
            for entity in plan.config.content_vectors
        }
        before = factory.warehouse / last[name] if name in last else None
        read = [examples.digest() for examples in (*of_age, *show)] + [
            catalog.digest() for catalog in catalogs.values()
        ]
        fingerprint = digest_of(plan.signature, inputs.day, read, last.get(name))
        folder = factory.home / "models" / name / str(inputs.day) / fingerprint[:16]
        made[name] = UpstreamTask(
            plan, inputs.day, tuple(of_age), show, before, folder, fingerprint, catalogs
        )
    return made


def _only(examples: Examples, plan: UpstreamPlan, factory: Factory, day: dt.date) -> Examples:
    """The labels that mature with these rows today, so that none is learnt twice."""
    age = (day - examples.day).days
    labels = {
        task: examples.labels[task]
        for task in plan.tasks[examples.log]
        if factory.schema.tasks[task].matures_days == age
    }
    return replace(examples, labels=labels)


def learn_upstream(
    factory: Factory, inputs: DayInputs
) -> tuple[dict[str, UpstreamTask], dict[str, Any]]:
    """Every upstream goes on from its last checkpoint. One that has learnt just this already is not
    trained again: so a replay under another policy trains none. A backtest learns nothing.
    """
    if factory.lender is not None:
        return {}, {}
    tasks = _upstream_tasks(factory, inputs)
    open_tasks = [task for task in tasks.values() if not is_whole(task.folder)]
    with factory.console.progress(f"{inputs.day} upstream", len(open_tasks)) as bar:
        for _ in factory.engine.map(fit_day, open_tasks):
            bar.advance()
    return tasks, {
        name: read_json(task.folder / "model.json")["training"] for name, task in tasks.items()
    }


def embed(
    factory: Factory, inputs: DayInputs, tasks: Mapping[str, UpstreamTask]
) -> dict[str, Daily]:
    """Fresh vectors of every entity that today's rows show, kept as the day's snapshots; a
    backtest takes those of its source.
    """
    day = inputs.day
    if factory.lender is not None:
        return factory.lender.daily_of(day)
    fingerprint = digest_of({name: task.fingerprint for name, task in tasks.items()})
    try:
        kept = factory.store.daily(day, fingerprint)
        for daily in (kept or {}).values():
            daily.segment.verify()
    except StoreError:  # damaged: made again
        kept = None
    if kept is not None:
        return kept
    fresh = []
    for task in tasks.values():
        ids = {
            entity: distinct_ids([inputs.events[log] for log in task.plan.logs], entity)
            for entity in task.plan.entities
        }
        first = dt.date.fromisoformat(read_json(task.folder / "model.json")["first_day"])
        fresh += embed_day(task, task.plan.space(first), ids)
    factory.store.write_daily(day, fingerprint, fresh, factory.config.store.bucket_rows)
    made = factory.store.daily(day, fingerprint)
    assert made is not None
    return made


# ---- publish -------------------------------------------------------------------------------------


def compose(
    factory: Factory,
    day: dt.date,
    daily: Mapping[str, Daily],
    tasks: Mapping[str, UpstreamTask],
    again: bool = False,
) -> Composed:
    """Aggregate yesterday's edition with today's vectors. Nobody reads the result until `publish`
    names it.
    """
    earlier = factory.done_before(day)
    before = factory.edition(earlier[-1]) if earlier else None
    models = {name: str(task.folder.relative_to(factory.warehouse)) for name, task in tasks.items()}
    folder = next(iter(daily.values())).segment.folder.parent
    source = str(folder.relative_to(factory.home)) if factory.lender is None else None
    rotations = rotations_of(before) if before is not None else {}
    return factory.store.compose(
        day,
        before,
        daily,
        factory.config.lifecycle,
        factory.config.store,
        models,
        source,
        rotations,
        again,
    )


def gate(
    factory: Factory,
    inputs: DayInputs,
    composed: Composed,
    daily: Mapping[str, Daily],
    covered: Mapping[str, float],
    force: bool,
) -> tuple[list[str], dict[str, Any]]:
    """Look at the composed edition before it is published. Raises GateError: the edition is set
    aside for inspection, nothing is published.

    Returns the gates that `force` overruled, and what was found, by snapshot.
    """
    day, results, health = inputs.day, list[GateResult](), {}
    earlier = factory.done_before(day)
    last = [
        edition
        for edition in map(factory.edition_if_kept, earlier[: -1 - LAST_EDITIONS : -1])
        if edition is not None
    ]
    before = last[0] if last else None
    rotations = rotations_of(composed.edition)
    for name, today in daily.items():
        entries = [edition.snapshots[name] for edition in last if name in edition.snapshots]
        shares = [
            covered.get(name) if before is not None else None,
            *(_coverage_of(edition, name) for edition in last),
        ]
        probe = probe_of(factory, inputs, composed.edition, before, name)
        evidence = evidence_of(
            name,
            composed,
            before,
            today,
            rotations.get(today.space.upstream),
            entries,
            shares,
            probe,
        )
        if (day - today.space.opened).days < factory.config.gates.settle_days:
            evidence = replace(evidence, young=True)
        # a backtest publishes to nobody: it only writes down what it sees
        checks = (
            check_evidence(evidence, factory.config.gates, day_seed(factory.config.seed, day))
            if factory.source is None
            else []
        )
        health[name] = monitor_of(composed.edition, evidence, checks)
        results += checks
    failed = [
        f"{check.snapshot}: {check.check} is {check.figure:.4g}, allowed {check.threshold:.4g}:"
        f" {check.reason}"
        for check in results
        if not check.passed
    ]
    if failed and not force:
        kept = factory.store.set_aside(
            composed.edition, {"day": str(day), "failed": failed, "snapshots": health}
        )
        raise GateError(
            f"edition {day} was refused and nothing was published:\n  - "
            + "\n  - ".join(failed)
            + f"\nIt lies in {kept} for inspection. Look at that day's log; thresholds are in"
            " factory.yaml under `gates`; `--force` publishes it all the same, and says so."
        )
    if failed:
        factory.console.log(
            f"[bold]{day}[/bold] published by force, over {len(failed)} gates: {'; '.join(failed)}"
        )
    return failed, health


def _coverage_of(edition: Edition, name: str) -> float | None:
    report = edition.folder / REPORT
    share: float | None = read_json(report)["coverage"].get(name) if report.is_file() else None
    return share


def probe_of(
    factory: Factory, inputs: DayInputs, now: Edition, before: Edition | None, name: str
) -> Probe | None:
    """Rows of today with the pair's vectors and the label of the upstream's first task, where that
    is known today; asked of the user's snapshot, for the pair.
    """
    upstream, entity = name.rsplit("_", 1)
    pair = {side: f"{upstream}_{side}" for side in ("user", "item")}
    task = factory.config.upstreams[upstream].tasks[0]
    examples = inputs.examples[factory.logs_of(upstream)[0], inputs.day]
    if (
        entity != "user"
        or task not in examples.labels
        or not set(pair.values()) <= set(now.snapshots)
    ):
        return None
    known = np.flatnonzero(~np.isnan(examples.labels[task]))
    rows = (
        known[
            np.unique(np.linspace(0, len(known) - 1, min(len(known), PROBE_ROWS)).astype(np.int64))
        ]
        if len(known)
        else known
    )
    comparable = before is not None and all(
        part in before.snapshots and before.space(part) == now.space(part) for part in pair.values()
    )

    def vectors(edition: Edition, side: str) -> np.ndarray:
        return edition.lookup(pair[side], examples.keys[side][rows], inputs.day).vectors_ND

    return Probe(
        examples.labels[task][rows],
        vectors(now, "user"),
        vectors(now, "item"),
        vectors(before, "user") if comparable and before else None,
        vectors(before, "item") if comparable and before else None,
    )


def publish(factory: Factory, edition: Edition, report: dict[str, Any]) -> None:
    """The switch: the report joins its edition, the online store and the indexes are filled, and
    then the catalog is replaced once.
    """
    write_json(edition.folder / REPORT, report)
    day, catalog = edition.day, factory.catalog
    entry = Entry(
        day,
        edition.digest,
        str(edition.folder.relative_to(factory.home)),
        report["fingerprint"],
        factory.tombstones.digest,
        tuple(report["forced"]),
    )
    go_live = factory.config.lifecycle.promote == "auto" and factory.lane == (
        catalog.live.lane if catalog.live else MAIN
    )
    days = factory.days_done()
    if days and day < days[-1]:
        go_live = False  # a replay of an earlier day; readers stay on the newest
        if day not in days:
            catalog = catalog.slipped_in(factory.lane, entry)
    switch_to(factory.warehouse, factory.config, catalog.published(factory.lane, entry, go_live))


def tidy(factory: Factory, day: dt.date, replay: bool) -> None:
    """After the switch: compact, let old editions go, forget what can be made again. Killed here,
    the next day tidies.

    In the midst of a replay nothing goes: the days still to be renewed may need it.
    """
    compact_where_due(factory.warehouse, factory.config, factory.lane, day)
    if not replay:
        retire(factory.warehouse, factory.config)
        if factory.source is None:
            factory.cache.forget(
                day
                - dt.timedelta(
                    days=max(task.matures_days for task in factory.schema.tasks.values())
                )
            )
    days = factory.days_done()
    here = days.index(day)
    window = {
        known
        for known in days
        if (days[-1] - known).days <= factory.config.lifecycle.keep_days + RANKERS_EVERY
    }
    forget_rankers(
        factory.home,
        {
            *days[-KEEP_RANKERS:],
            *days[max(0, here + 1 - KEEP_RANKERS) : here + 1],
            *(window & set(days[::RANKERS_EVERY])),
        },
    )


# ---- downstream ----------------------------------------------------------------------------------


def _variant_folder(factory: Factory, plan: RankerPlan, day: dt.date) -> Path:
    entry = factory.catalog.lane(factory.lane).get(day)
    return (
        factory.home
        / "models"
        / "downstream"
        / plan.consumer
        / rankers_of(day, entry is not None and entry.aligned != "")
        / plan.variant.name
    )


def _last_checkpoint(factory: Factory, plan: RankerPlan, day: dt.date) -> Path | None:
    """The variant's checkpoint of the last day done before `day`; see `restore_downstream`."""
    before = factory.done_before(day)
    return _variant_folder(factory, plan, before[-1]) if before else None


def restore_downstream(factory: Factory, day: dt.date) -> None:
    """Make the rankers' checkpoints of the day before again, where they were forgotten, from its
    events and editions.

    Raises EditionConflict where those days' inputs are no longer what they were.
    """
    for known in days_to_relearn(factory, day):
        inputs = read_day(factory, known)
        entry = factory.entry(known)
        if (
            entry.erasures == factory.tombstones.digest
            and fingerprint_of(factory, inputs) != entry.fingerprint
        ):
            raise conflict(known, entry.fingerprint, fingerprint_of(factory, inputs))
        factory.console.log(f"{known}  rankers learn this day once more, to go on from it")
        learn_downstream(factory, inputs, entry.fingerprint, replay=True)


def days_to_relearn(factory: Factory, day: dt.date) -> list[dt.date]:
    """The days before `day` that rankers have to learn again, oldest first, to stand where they
    stood. Raises StoreError where an aligned lane has lost the rankers it took over.
    """
    before = factory.done_before(day)
    kept = [
        known
        for known in before
        if all(_variant_folder(factory, plan, known).is_dir() for plan in factory.variants)
    ]
    aligned = [
        entry.day
        for entry in factory.catalog.lane(factory.lane).days
        if entry.aligned and entry.day < day
    ]
    if factory.variants and aligned and not (kept and kept[-1] >= aligned[-1]):
        raise StoreError(
            f"the lane {factory.lane!r} was aligned on {aligned[-1]}, and the rankers it took over"
            " then are gone. Run a new lane and align that."
        )
    return [known for known in before if not kept or known > kept[-1]] if factory.variants else []


def learn_downstream(factory: Factory, inputs: DayInputs, fingerprint: str, replay: bool) -> None:
    """Every variant learns the rows whose labels matured today, with the vectors that were served
    to those rows.
    """
    tasks = []
    for plan in factory.variants:
        folder = _variant_folder(factory, plan, inputs.day)
        done = folder / f"seed-{plan.config.seeds[-1]}.json"
        if not replay and _fingerprint(done) == fingerprint:
            continue
        task = factory.schema.tasks[plan.config.task]
        rows = inputs.matured(task)
        if rows is None:  # nothing has matured yet: the checkpoint is the untrained model
            none = inputs.examples[task.log, inputs.day].take(np.zeros(0, np.int64))
            rows = replace(none, labels={name: np.zeros(0, np.float32) for name in plan.tasks})
        served = factory.served_on(rows.day)
        before = _last_checkpoint(factory, plan, inputs.day)
        tasks.append(
            VariantTask(
                plan,
                inputs.day,
                plan.reads(rows.where_defined(tuple(plan.tasks))),
                served,
                before,
                folder,
                fingerprint,
            )
        )
    with factory.console.progress(f"{inputs.day} downstream", len(tasks)) as bar:
        for _ in factory.engine.map(fit_variant, tasks):
            bar.advance()


def _fingerprint(path: Path) -> str | None:
    return read_json(path)["fingerprint"] if path.is_file() else None


# ---- report --------------------------------------------------------------------------------------


def coverage(factory: Factory, inputs: DayInputs) -> dict[str, float]:
    """Share of today's rows whose entity had a served vector, by embedding."""
    served = factory.served_on(inputs.day)
    found = {}
    for name in factory.config.upstreams:
        for entity in factory.schema.upstream_entities[name]:
            keys = np.concatenate(
                [inputs.examples[log, inputs.day].keys[entity] for log in factory.logs_of(name)]
            )
            read = served.read(f"{name}_{entity}", keys, inputs.day)
            found[f"{name}_{entity}"] = 0.0 if read is None else float(read.found_N.mean())
    return found


def _headline(report: Mapping[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {"rows": f"{sum(report['rows'].values()):,}"}
    for consumer, judged in report["quality"].items():
        auc = {variant: value for variant, value in judged["roc_auc"].items() if value is not None}
        if "none" in auc and "all" in auc:
            figures[f"{consumer} AUC"] = f"{auc['none']:.4f} -> {auc['all']:.4f}"
    return figures
