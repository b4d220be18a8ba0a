"""Rankers learn the rows whose labels matured today, with the vectors that were served to them."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.blobs import Layout
from headwater.config import DownstreamConfig, FactoryConfig
from headwater.errors import StoreError
from headwater.evaluation import Variant
from headwater.events.specs import block_specs
from headwater.files import read_json
from headwater.models.downstream import CHECKPOINT, RankerJob, RankerPlan, SequenceSpec, learn_day
from headwater.pipeline.inputs import DayInputs, EncodedDay, conflict, fingerprint_of
from headwater.schema import Schema
from headwater.store import Entry, Lane
from headwater.workspace import Workspace

if TYPE_CHECKING:
    from headwater.pipeline.run import Run


def ranker_plans(
    config: FactoryConfig, schema: Schema, widths: Mapping[str, int]
) -> list[RankerPlan]:
    """Every variant of every ranker; `widths` are those of all embeddings."""
    names = schema.embedding_names()
    return [
        RankerPlan(
            consumer,
            Variant.parse(variant, names),
            spec,
            block_specs(schema, config.tasks[spec.task].log),
            dict(widths),
            config.seed,
            _sequence(config, schema, spec),
        )
        for consumer, spec in config.downstream.items()
        for variant in spec.variants
    ]


def _sequence(config: FactoryConfig, schema: Schema, spec: DownstreamConfig) -> SequenceSpec | None:
    """How a ranker reads its user's history, if its log has one."""
    history = schema.histories_of(config.tasks[spec.task].log).get("user")
    if history is None or history.of != "item" or spec.sequence.length == 0:
        return None
    return SequenceSpec(history.of, len(history.actions))


@dataclass(frozen=True)
class Checkpoints:
    """Where the rankers of a lane stood, by the days that its catalog has."""

    layout: Layout
    chain: Lane

    @classmethod
    def of(cls, workspace: Workspace) -> Checkpoints:
        return cls(workspace.layout, workspace.chain())

    def of_consumer(self, consumer: str, day: dt.date) -> Path:
        """Where a consumer's variants stand at the end of a day, each in a folder of its name."""
        entry = self.chain.get(day)
        aligned = entry is not None and entry.aligned != ""
        return self.layout.rankers(consumer, day, aligned)

    def at(self, plan: RankerPlan, day: dt.date) -> Path:
        """Where a variant stands at the end of a day."""
        return self.of_consumer(plan.consumer, day) / plan.variant.name

    def before(self, consumer: str, day: dt.date) -> Path | None:
        """Where a consumer stood at the end of the last day done before `day`; see
        `restore_rankers`.
        """
        known = [entry.day for entry in self.chain.days if entry.day < day]
        return self.of_consumer(consumer, known[-1]) if known else None


def shares(plans: Sequence[RankerPlan], workers: int) -> Iterator[tuple[RankerPlan, ...]]:
    """The variants of each consumer in as many shares as there are workers, a job each: what they
    read is prepared once a share.
    """
    of_consumers: dict[str, list[RankerPlan]] = {}
    for plan in plans:
        of_consumers.setdefault(plan.consumer, []).append(plan)
    for found in of_consumers.values():
        parts = min(max(1, workers), len(found))
        cuts = [len(found) * part // parts for part in range(parts + 1)]
        for low, high in itertools.pairwise(cuts):
            yield tuple(found[low:high])


def learn(run: Run, inputs: DayInputs, fingerprint: str, again: bool) -> None:
    """Every variant of every ranker learns; `again` also those that have learnt just this."""
    checkpoints, config = Checkpoints.of(run.workspace), run.workspace.config
    pending = [
        plan
        for plan in run.rankers
        if again or not _has_learnt(checkpoints.at(plan, inputs.day), fingerprint)
    ]
    jobs = []
    for plans in shares(pending, config.workers):
        consumer = plans[0].consumer
        rows, taught = _rows(run.workspace.schema, plans[0], inputs)
        job = RankerJob(
            plans=plans,
            day=inputs.day,
            rows=rows.rows,
            view=run.workspace.served_on(rows.examples.day),
            before=checkpoints.before(consumer, inputs.day),
            folder=checkpoints.of_consumer(consumer, inputs.day),
            fingerprint=fingerprint,
            taught=taught,
        )
        jobs.append(job)
    with run.console.progress(f"{inputs.day} downstream", len(jobs)) as bar:
        for _ in run.engine.map(learn_day, jobs):
            bar.advance()


def _rows(schema: Schema, plan: RankerPlan, inputs: DayInputs) -> tuple[EncodedDay, bool]:
    """The rows to learn, and whether there is anything to learn from them: before anything has
    matured, the untrained model is kept.
    """
    task = schema.tasks[plan.config.task]
    matured = inputs.matured(task)
    if matured is None:
        return inputs.encoded[task.log, inputs.day], False
    return matured, True


def _has_learnt(folder: Path, fingerprint: str) -> bool:
    saved = folder / f"{CHECKPOINT}.json"
    return saved.is_file() and bool(read_json(saved)["fingerprint"] == fingerprint)


def restore_rankers(run: Run, day: dt.date) -> None:
    """Make the rankers' checkpoints of the day before again, where they were forgotten, from its
    events and editions.

    Raises EditionConflict where those days' inputs are no longer what they were.
    """
    workspace = run.workspace
    for known in days_to_relearn(run, day):
        done = workspace.done_before(known)
        inputs = run.reader.read(known, done)
        entry = workspace.entry(known)
        before = workspace.entry(done[-1]) if done else None
        fingerprint = fingerprint_of(workspace.config, inputs, before)
        if entry.erasures == run.reader.tombstones.digest and fingerprint != entry.fingerprint:
            raise conflict(known, entry.fingerprint, fingerprint)
        run.console.log(f"{known}  rankers learn this day once more, to go on from it")
        learn(run, inputs, entry.fingerprint, again=True)


def days_to_relearn(run: Run, day: dt.date) -> list[dt.date]:
    """The days before `day` that rankers have to learn again, oldest first, to stand where they
    stood. Raises StoreError where an aligned lane has lost the rankers it took over.
    """
    if not run.rankers:
        return []
    checkpoints = Checkpoints.of(run.workspace)
    earlier = [entry for entry in checkpoints.chain.days if entry.day < day]
    kept = next((entry.day for entry in reversed(earlier) if _stood(run, checkpoints, entry)), None)
    aligned = [entry.day for entry in earlier if entry.aligned]
    if aligned and (kept is None or kept < aligned[-1]):
        raise StoreError(
            f"the lane {run.workspace.lane!r} was aligned on {aligned[-1]}, and the rankers it took"
            " over then are gone. Run a new lane and align that."
        )
    return [entry.day for entry in earlier if kept is None or entry.day > kept]


def _stood(run: Run, checkpoints: Checkpoints, entry: Entry) -> bool:
    """Whether every variant's checkpoint of a day is kept."""
    return all(checkpoints.at(plan, entry.day).is_dir() for plan in run.rankers)
