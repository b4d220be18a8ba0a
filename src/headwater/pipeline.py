"""The day, in order, and the replay of many days. Read `run_day` first: it is the table of contents of Headwater."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headwater.config import FactoryConfig, load_config, warehouse_of
from headwater.console import SILENT, Console, timed
from headwater.embeddings import Snapshot, aggregate, check_snapshot
from headwater.embeddings.gates import cosine_to
from headwater.engine import Engine, make_engine
from headwater.errors import ConfigError, EditionConflict, GateError, StoreError
from headwater.evaluation import Arm, metrics_of
from headwater.events import ExampleReader, Examples
from headwater.events.examples import distinct_ids
from headwater.events.log import EventDay
from headwater.files import digest_of, exclusive, read_json, sweep_leftovers, write_json
from headwater.index import INDEXES, open_index
from headwater.judging import Judgements
from headwater.models.downstream import ArmTask, RankerPlan, fit_arm, predict_arm
from headwater.models.upstream import UpstreamPlan, UpstreamTask, embed_day, fit_day, sizes_of
from headwater.plugins import resolve
from headwater.schema import Schema, Task
from headwater.store import ONLINE_STORES, Edition, EditionStore, EditionView, OnlineStore
from headwater.store.editions import conflict

ONE_DAY = dt.timedelta(days=1)
KEEP_DOWNSTREAM_DAYS = 2  # checkpoints of rankers; older ones are made again from events and editions when a replay needs them


@dataclass(frozen=True)
class DayInputs:
    """What a day reads, once: today's rows, and the earlier rows whose labels mature today, by (log, day)."""

    day: dt.date
    events: Mapping[str, EventDay]
    examples: Mapping[tuple[str, dt.date], Examples]

    def digest(self) -> str:
        return digest_of({f"{log} {day}": examples.digest() for (log, day), examples in sorted(self.examples.items())})

    def matured(self, task: Task) -> Examples | None:
        """The rows whose label for `task` is known since today; None before the factory's first day."""
        return self.examples.get((task.log, self.day - dt.timedelta(days=task.matures_days)))


class Factory:
    """A factory on disk: its config, its data and its warehouse."""

    def __init__(self, config: FactoryConfig, root: Path, console: Console = SILENT) -> None:
        self.config, self.root, self.console = config, root, console
        self.schema = Schema.from_config(config, root)
        self.warehouse = warehouse_of(config, root)
        self.store = EditionStore(self.warehouse)
        self.log = ExampleReader(self.schema, config.zone, self.warehouse / "quarantine")
        self.judgements = Judgements(self.warehouse)
        self.embedding_names = self.schema.embedding_names()
        resolve("headwater.index", INDEXES, config.index.kind)  # before a day is trained in vain

    @classmethod
    def load(cls, path: str | Path, console: Console = SILENT) -> Factory:
        """From a `factory.yaml`. Raises ConfigError."""
        path = Path(path)
        return cls(load_config(path), path.resolve().parent, console)

    @cached_property
    def engine(self) -> Engine:
        return make_engine(self.config.workers)

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.close()

    # ---- the plans of the models -----------------------------------------------------------------------------------

    def log_of(self, upstream: str) -> str:
        """The one log that all tasks of an upstream are of."""
        return self.config.tasks[self.config.upstreams[upstream].tasks[0]].log

    @cached_property
    def upstreams(self) -> dict[str, UpstreamPlan]:
        return {
            name: UpstreamPlan(
                name, spec, self.log.specs(self.log_of(name)), self.schema.upstream_entities[name],
                {entity: (history.of, len(history.actions)) for entity, history in self.schema.histories_of(self.log_of(name)).items()},
                self.config.seed,
            )
            for name, spec in self.config.upstreams.items()
        }  # fmt: skip

    @cached_property
    def arms(self) -> list[RankerPlan]:
        widths = {
            f"{name}_{entity}": sizes_of(self.config.upstreams[name]).width
            for name, entities in self.schema.upstream_entities.items() for entity in entities
        }  # fmt: skip
        return [
            RankerPlan(consumer, Arm.parse(arm, self.embedding_names), spec, self.log.specs(self.config.tasks[spec.task].log),
                       widths, self.config.seed)
            for consumer, spec in self.config.downstream.items() for arm in spec.arms
        ]  # fmt: skip

    # ---- the days --------------------------------------------------------------------------------------------------

    def report_path(self, day: dt.date) -> Path:
        return self.warehouse / "reports" / f"{day}.json"

    def served_on(self, day: dt.date) -> EditionView:
        """What consumers read on `day`: the newest edition, of the days done, that was published `lag_days` before."""
        return self.store.as_of(day - dt.timedelta(days=self.config.lifecycle.lag_days), among=self.days_done())

    def days_done(self) -> list[dt.date]:
        """Days with a report, which is written last; what other days left behind is not built upon."""
        return sorted(dt.date.fromisoformat(path.stem) for path in (self.warehouse / "reports").glob("????-??-??.json"))

    def done_before(self, day: dt.date) -> list[dt.date]:
        return [known for known in self.days_done() if known < day]

    def run_day(self, day: dt.date, replay: bool = False) -> dict[str, Any]:
        """Run one day; see `run_day`. With `replay`, every later day that was run is run again too.

        A replay is written down before it begins: killed in the middle, the next run of any day finishes it first.
        """
        with exclusive(self.warehouse):
            sweep_leftovers(self.warehouse)
            pending = self._replays_pending()
            if replay:
                again = sorted({day, *pending, *(known for known in self.days_done() if known > day)})
                for known in again:
                    read_day(self, known)  # a day that cannot be read must not cost the days that can
                write_json(self._replay_path, [str(known) for known in again])
            elif pending:
                self.console.log(f"a replay was not finished: first {', '.join(map(str, pending))} again ({self._replay_path})")
            self._finish_replay()
            later = [known for known in self.days_done() if known > day]
            if later and day not in self.days_done():
                raise EditionConflict(f"{day} was never run, but {later[0]} was; averages remember, so a day cannot be slipped in. "
                                      f"`headwater run --day {day} --replace` runs it and replays the later days.")  # fmt: skip
            return run_day(self, day)

    @property
    def _replay_path(self) -> Path:
        return self.warehouse / "replay.json"

    def _replays_pending(self) -> list[dt.date]:
        return [dt.date.fromisoformat(day) for day in read_json(self._replay_path)] if self._replay_path.is_file() else []

    def _finish_replay(self) -> None:
        """Run again, oldest first, the days that a replay (perhaps one that was killed) has still to do."""
        while left := self._replays_pending():
            for known in left:
                self.report_path(known).unlink(missing_ok=True)
            run_day(self, left[0], replay=True)
            if left[1:]:
                write_json(self._replay_path, [str(known) for known in left[1:]])
            else:
                self._replay_path.unlink()

    def backfill(self, start: dt.date, end: dt.date) -> Iterator[dict[str, Any]]:
        """Run the days from `start` to `end`; those done already are checked and left as they are."""
        if end < start:
            raise ConfigError(f"backfill: --from {start} is after --to {end}.")
        days = [start + n * ONE_DAY for n in range((end - start).days + 1)]
        with self.console.progress("backfill", len(days)) as bar:
            for day in days:
                bar.title(f"{day}")
                yield self.run_day(day)
                bar.advance()


def run_day(factory: Factory, day: dt.date, replay: bool = False) -> dict[str, Any]:
    """One day: judge, learn, embed, aggregate, gate, publish, learn downstream, report.

    Deterministic and resumable: each step writes whole or not at all under the fingerprint of its inputs, and the report,
    written last, marks the day as done. A day done from the same inputs is left as it is; from others, EditionConflict.
    """
    console, seconds = factory.console, dict[str, float]()
    with timed(seconds, "read"):
        inputs = read_day(factory, day)  # read once
    fingerprint = fingerprint_of(factory, inputs)
    if factory.report_path(day).is_file():
        return leave_or_refuse(factory, day, fingerprint)
    with timed(seconds, "judge"):
        restore_downstream(factory, day)
        quality = judge(factory, inputs, fingerprint)  # yesterday's models on today's traffic: every day is an honest test
    with timed(seconds, "upstream"):
        losses = learn_upstream(factory, inputs, fingerprint, replay)  # warm start: the same space
        fresh = embed(factory, inputs, fingerprint)  # the last vector of the day
    with timed(seconds, "publish"):
        edition, health = publish(factory, day, fresh, fingerprint, replay)  # aggregate, gate, publish: atomic
    with timed(seconds, "downstream"):
        learn_downstream(factory, inputs, fingerprint, replay)  # with what was served, never with today's vectors
    report = {
        "day": str(day), "fingerprint": fingerprint, "edition": edition.digest, "upstream": losses, "quality": quality,
        "rows": {log: len(examples) for (log, d), examples in inputs.examples.items() if d == day},
        "rejected": {log: dict(events.rejected) for log, events in inputs.events.items()},
        "coverage": coverage(factory, inputs), "snapshots": health,
    }  # fmt: skip
    write_json(factory.report_path(day), report)
    make_live(factory)
    forget_old_checkpoints(factory)
    console.log(f"[bold]{day}[/bold] published", **_headline(report), **{name: f"{value:.1f}s" for name, value in seconds.items()})
    return report


def read_day(factory: Factory, day: dt.date) -> DayInputs:
    """Today's rows of every log that a model learns from or embeds, and the rows whose labels mature today."""
    tasks = factory.schema.tasks
    wanted = [task for spec in factory.config.upstreams.values() for task in spec.tasks]
    wanted += [spec.task for spec in factory.config.downstream.values()]
    run = {*factory.days_done(), day}  # rows of a day that was skipped were never predicted, and are not learnt either
    days: dict[tuple[str, dt.date], None] = {(tasks[name].log, day): None for name in wanted}
    for name in dict.fromkeys(wanted):
        matures = day - dt.timedelta(days=tasks[name].matures_days)
        if matures in run:
            days[tasks[name].log, matures] = None
    events, examples = {}, {}
    for log, of in days:
        rows = factory.log.logs[log].day(of)
        age = (day - of).days
        known = tuple(task.name for task in tasks.values() if task.log == log and task.matures_days <= age)
        examples[log, of] = factory.log.build(rows, known, known_by=day)
        if of == day:
            events[log] = rows
    return DayInputs(day, events, examples)


def fingerprint_of(factory: Factory, inputs: DayInputs) -> str:
    """Of all that shapes the day: the config, what is read, and the day before, because averages remember."""
    before = factory.done_before(inputs.day)
    previous = read_json(factory.report_path(before[-1]))["fingerprint"] if before else None
    return digest_of(factory.config.digest(), inputs.day, inputs.digest(), previous)


def leave_or_refuse(factory: Factory, day: dt.date, fingerprint: str) -> dict[str, Any]:
    """A day done already: nothing to do if its inputs are the same. Raises EditionConflict if not."""
    report: dict[str, Any] = read_json(factory.report_path(day))
    if report["fingerprint"] != fingerprint:
        raise conflict(day, report["fingerprint"], fingerprint)
    if day not in factory.store.days() or factory.store.get(day).digest != report["edition"]:
        raise StoreError(f"day {day} was run, but its edition is gone or another. `headwater run --day {day} --replace` makes it again, and every later day.")
    make_live(factory)  # in case the run was killed between the report and the switch
    factory.console.log(f"[bold]{day}[/bold] already published, unchanged", edition=report["edition"][:12])
    return report


# ---- judge -----------------------------------------------------------------------------------------------------------


def judge(factory: Factory, inputs: DayInputs, fingerprint: str) -> dict[str, Any]:
    """Every arm predicts today's rows as its consumer would have served them; predictions meet their labels when those mature."""
    plans = factory.arms
    served = factory.served_on(inputs.day)
    rows = {consumer: _rows_to_predict(factory, inputs, consumer) for consumer in factory.config.downstream}
    tasks = [
        ArmTask(plan, inputs.day, inputs.examples[factory.config.tasks[plan.config.task].log, inputs.day].take(rows[plan.consumer]).without_histories(),
                served, _last_checkpoint(factory, plan, inputs.day), _arm_folder(factory, plan, inputs.day), fingerprint)
        for plan in plans
    ]  # fmt: skip
    scores: dict[str, dict[str, dict[int, np.ndarray]]] = {}
    with factory.console.progress(f"{inputs.day} judge", len(tasks)) as bar:
        for plan, of_arm in zip(plans, factory.engine.map(predict_arm, tasks), strict=True):
            scores.setdefault(plan.consumer, {})[plan.arm.name] = of_arm
            bar.advance()
    quality: dict[str, Any] = {}
    for consumer, by_arm in scores.items():
        task = factory.schema.tasks[factory.config.downstream[consumer].task]
        factory.judgements.predicted(consumer, inputs.examples[task.log, inputs.day], rows[consumer], by_arm, served.edition is not None)
        matured = inputs.matured(task)
        if matured is not None:
            judged = factory.judgements.settle(consumer, matured, task.name)
            quality[consumer] = {
                "day": str(matured.day), "rows": len(judged.labels_N),
                "roc_auc": {arm: _mean_auc(judged.labels_N, by_seed) for arm, by_seed in judged.scores.items()},
            }  # fmt: skip
    return quality


def _rows_to_predict(factory: Factory, inputs: DayInputs, consumer: str) -> np.ndarray:
    """All of today's rows or, where the task is given another that is known today, the rows where that one is 1."""
    task = factory.schema.tasks[factory.config.downstream[consumer].task]
    examples = inputs.examples[task.log, inputs.day]
    if task.given is not None and task.given.name in examples.labels:
        return np.flatnonzero(examples.labels[task.given.name] == 1)
    return np.arange(len(examples))


def _mean_auc(labels_N: np.ndarray, by_seed: Mapping[int, np.ndarray]) -> float | None:
    value = float(np.mean([metrics_of(labels_N, scores).roc_auc for scores in by_seed.values()]))
    return None if np.isnan(value) else value


# ---- upstream --------------------------------------------------------------------------------------------------------


def _upstream_tasks(factory: Factory, inputs: DayInputs, fingerprint: str) -> dict[str, UpstreamTask]:
    made = {}
    for name, plan in factory.upstreams.items():
        log = factory.log_of(name)
        ages = dict.fromkeys(factory.schema.tasks[task].matures_days for task in plan.config.tasks)
        learn = [inputs.examples.get((log, inputs.day - dt.timedelta(days=age))) for age in sorted(ages, reverse=True)]
        of_age = [_only(examples, plan, factory, inputs.day) for examples in learn if examples is not None]
        root = factory.warehouse / "models" / name
        earlier = factory.done_before(inputs.day)
        made[name] = UpstreamTask(plan, inputs.day, tuple(of_age), inputs.examples[log, inputs.day],
                                  root / str(earlier[-1]) if earlier else None, root / str(inputs.day), fingerprint)  # fmt: skip
    return made


def _only(examples: Examples, plan: UpstreamPlan, factory: Factory, day: dt.date) -> Examples:
    """The labels that mature with these rows today, so that none is learnt twice."""
    age = (day - examples.day).days
    labels = {task: examples.labels[task] for task in plan.config.tasks if factory.schema.tasks[task].matures_days == age}
    return replace(examples, labels=labels)


def learn_upstream(factory: Factory, inputs: DayInputs, fingerprint: str, replay: bool) -> dict[str, Any]:
    """Every upstream goes on from its last checkpoint; one that a killed run had finished is not trained again, except in a replay."""
    tasks = _upstream_tasks(factory, inputs, fingerprint)
    open_tasks = {name: task for name, task in tasks.items() if replay or _fingerprint(task.folder / "model.json") != fingerprint}
    with factory.console.progress(f"{inputs.day} upstream", len(open_tasks)) as bar:
        for _ in factory.engine.map(fit_day, open_tasks.values()):
            bar.advance()
    return {name: read_json(task.folder / "model.json")["training"] for name, task in tasks.items()}


def embed(factory: Factory, inputs: DayInputs, fingerprint: str) -> list[Snapshot]:
    """Fresh vectors of every entity that today's rows show."""
    fresh: list[Snapshot] = []
    for name, task in _upstream_tasks(factory, inputs, fingerprint).items():
        log = factory.log_of(name)
        ids = {entity: distinct_ids(inputs.events[log], entity) for entity in task.plan.entities}
        first = dt.date.fromisoformat(read_json(task.folder / "model.json")["first_day"])
        fresh += embed_day(task, task.plan.space(first), ids)
    return fresh


def _fingerprint(path: Path) -> str | None:
    return read_json(path)["fingerprint"] if path.is_file() else None


# ---- publish ---------------------------------------------------------------------------------------------------------


def publish(factory: Factory, day: dt.date, fresh: list[Snapshot], fingerprint: str, replay: bool) -> tuple[Edition, dict[str, Any]]:
    """Aggregate with the last edition, gate, publish. Raises GateError (nothing is published) and EditionConflict."""
    lifecycle = factory.config.lifecycle
    earlier = factory.done_before(day)
    last = factory.store.get(earlier[-1]) if earlier else None
    snapshots, results, health = [], [], {}
    for today in fresh:
        before = last.read(today.name) if last is not None and today.name in last.snapshots else None
        now = aggregate(before, today, lifecycle.policy, day, lifecycle.expire_days)
        checks = check_snapshot(now, before, factory.config.gates)
        cosines = cosine_to(before, now) if before is not None else np.zeros(0)
        moved = cosines[np.isin(now.keys_N[before.find(now.keys_N)[1]], today.keys_N)] if before is not None else cosines
        health[now.name] = {
            "rows": len(now), "fresh": len(today), "space": str(now.space), "digest": now.digest,
            "cosine_median": float(np.median(moved)) if len(moved) else None,
            "cosine_p10": float(np.quantile(moved, 0.1)) if len(moved) else None,
            "gates": [check.as_dict() for check in checks],
        }  # fmt: skip
        snapshots.append(now)
        results += checks
    failed = [f"{check.snapshot}: {check.check} is {check.figure:.4g}, allowed {check.threshold:.4g}: {check.reason}"
              for check in results if not check.passed]  # fmt: skip
    if failed:
        raise GateError(f"edition {day} was refused and nothing was published:\n  - " + "\n  - ".join(failed)
                        + "\nLook at that day's log; thresholds are in factory.yaml under `gates`.")  # fmt: skip
    policy = lifecycle.policy.model_dump(mode="json") | {"expire_days": lifecycle.expire_days}
    edition = factory.store.publish(day, snapshots, fingerprint, policy, factory.config.store.buckets, replay)
    return edition, health


def make_live(factory: Factory) -> None:
    """Fill the online store and the item indexes with the newest finished edition, then switch readers to it."""
    newest = factory.days_done()[-1]
    edition = factory.store.get(newest)
    if factory.store.pointer() == (newest, edition.digest) and _is_served(factory, edition):
        return
    snapshots = [edition.read(name) for name in edition.snapshots]
    for snapshot in snapshots:
        if snapshot.entity == "item":
            open_index(factory.warehouse / "indexes", snapshot, factory.config.index.kind)
    online = _online(factory)
    if online is not None:
        for snapshot in snapshots:
            online.load(snapshot)
    factory.store.set_live(newest)
    if online is not None:
        online.keep({snapshot.digest for snapshot in snapshots})
    for old in (factory.warehouse / "indexes").glob("*-*"):
        if old.name.split("-")[0] not in {snapshot.digest for snapshot in snapshots}:
            shutil.rmtree(old)


def _online(factory: Factory) -> OnlineStore | None:
    kind = factory.config.store.online
    return None if kind == "none" else resolve("headwater.online", ONLINE_STORES, kind)(factory.warehouse / "online")


def _is_served(factory: Factory, edition: Edition) -> bool:
    """Whether the online store and the indexes hold all of an edition."""
    digests = {name: entry["digest"] for name, entry in edition.snapshots.items()}
    items = [digest for name, digest in digests.items() if edition.snapshots[name]["entity"] == "item"]
    if not all((factory.warehouse / "indexes" / f"{digest}-{factory.config.index.kind}" / "index.faiss").is_file() for digest in items):
        return False
    online = _online(factory)
    if online is None:
        return True
    try:
        for digest in digests.values():
            online.get(digest, 0)
    except StoreError:
        return False
    return True


# ---- downstream ------------------------------------------------------------------------------------------------------


def _arm_folder(factory: Factory, plan: RankerPlan, day: dt.date) -> Path:
    return factory.warehouse / "models" / "downstream" / plan.consumer / str(day) / plan.arm.name


def _last_checkpoint(factory: Factory, plan: RankerPlan, day: dt.date) -> Path | None:
    """The arm's checkpoint of the last day done before `day`; see `restore_downstream`."""
    before = factory.done_before(day)
    return _arm_folder(factory, plan, before[-1]) if before else None


def restore_downstream(factory: Factory, day: dt.date) -> None:
    """Make the rankers' checkpoints of the day before again, where they were forgotten, from its events and editions.

    Raises EditionConflict where those days' inputs are no longer what they were.
    """
    before = factory.done_before(day)
    kept = [known for known in before if all(_arm_folder(factory, plan, known).is_dir() for plan in factory.arms)]
    for known in [known for known in before if not kept or known > kept[-1]]:
        inputs = read_day(factory, known)
        published = read_json(factory.report_path(known))["fingerprint"]
        if fingerprint_of(factory, inputs) != published:
            raise conflict(known, published, fingerprint_of(factory, inputs))
        factory.console.log(f"{known}  rankers learn this day once more, to go on from it")
        learn_downstream(factory, inputs, published, replay=True)


def learn_downstream(factory: Factory, inputs: DayInputs, fingerprint: str, replay: bool) -> None:
    """Every arm learns the rows whose labels matured today, with the vectors that were served to those rows."""
    tasks = []
    for plan in factory.arms:
        folder = _arm_folder(factory, plan, inputs.day)
        done = folder / f"seed-{plan.config.seeds[-1]}.json"
        if not replay and _fingerprint(done) == fingerprint:
            continue
        task = factory.schema.tasks[plan.config.task]
        rows = inputs.matured(task)
        if rows is None:  # nothing has matured yet: the checkpoint is the untrained model
            none = inputs.examples[task.log, inputs.day].take(np.zeros(0, np.int64))
            rows = replace(none, labels={task.name: np.zeros(0, np.float32)})
        served = factory.served_on(rows.day)
        before = _last_checkpoint(factory, plan, inputs.day)
        rows = rows.where_defined((task.name,)).without_histories()
        tasks.append(ArmTask(plan, inputs.day, rows, served, before, folder, fingerprint))
    with factory.console.progress(f"{inputs.day} downstream", len(tasks)) as bar:
        for _ in factory.engine.map(fit_arm, tasks):
            bar.advance()


def forget_old_checkpoints(factory: Factory) -> None:
    kept = {str(day) for day in factory.days_done()[-KEEP_DOWNSTREAM_DAYS:]}
    for folder in (factory.warehouse / "models" / "downstream").glob("*/????-??-??"):
        if folder.name not in kept:
            shutil.rmtree(folder)


# ---- report ----------------------------------------------------------------------------------------------------------


def coverage(factory: Factory, inputs: DayInputs) -> dict[str, float]:
    """Share of today's rows whose entity had a served vector, by embedding."""
    served = factory.served_on(inputs.day)
    found = {}
    for name, spec in factory.config.upstreams.items():
        for entity in factory.schema.upstream_entities[name]:
            examples = inputs.examples[factory.config.tasks[spec.tasks[0]].log, inputs.day]
            read = served.read(f"{name}_{entity}", examples.keys[entity], inputs.day)
            found[f"{name}_{entity}"] = 0.0 if read is None else float(read.found_N.mean())
    return found


def _headline(report: Mapping[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {"rows": f"{sum(report['rows'].values()):,}"}
    for consumer, judged in report["quality"].items():
        auc = {arm: value for arm, value in judged["roc_auc"].items() if value is not None}
        if "none" in auc and "all" in auc:
            figures[f"{consumer} AUC"] = f"{auc['none']:.4f} -> {auc['all']:.4f}"
    return figures
