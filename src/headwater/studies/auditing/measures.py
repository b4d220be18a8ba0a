"""What is measured: features and histories against the labels of the judged days, in one walk over
the days of the log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from headwater.errors import LogError
from headwater.schema import Numeric, Task
from headwater.store import Lane
from headwater.studies.auditing.alone import FeaturesAlone
from headwater.studies.auditing.existence import EarlyVectors
from headwater.studies.auditing.features import EntityCounts, about_features
from headwater.studies.auditing.findings import Finding
from headwater.studies.auditing.memories import Memories
from headwater.workspace import Workspace

OTHER_DAYS = 30  # read before the judged ones, and after them


def measured(
    workspace: Workspace, lane: Lane, consumer: str, days: Sequence[dt.date]
) -> list[Finding]:
    """Every feature that models of the log read, and every history of it, against the labels of the
    judged days; and whether the vectors that were served are of entities that existed.

    Raises LogError where a judged day cannot be read.
    """
    schema, config, reader = workspace.schema, workspace.config, workspace.events()
    task = schema.tasks[config.downstream[consumer].task]
    entities = [schema.entities[name] for name in schema.logs[task.log].entities]
    counts = [
        EntityCounts(entity, days)
        for entity in entities
        if any(isinstance(kind, Numeric) for kind in entity.features.values())
    ]
    owners = {
        name: spec.entity or name for name, spec in config.histories.items() if spec.log == task.log
    }
    memories = Memories(task.log, owners, schema.histories_of(task.log))
    log = schema.logs[task.log]
    spoken_of = {name: schema.histories[name] for name in owners}
    alone = FeaturesAlone(log, {one.name: one for one in entities}, spoken_of, len(days))
    early = EarlyVectors(workspace, reader, tuple(log.entities))
    matures = dt.timedelta(days=task.matures_days)
    unread: list[dt.date] = []
    for day in _days_read(lane, task, days):
        try:
            rows = reader.read(task.log, day, (task.name,), known_by=day + matures)
        except LogError:
            if day in days:
                raise
            unread.append(day)  # a day that is not judged only sharpens the test
            continue
        rows = rows.where_defined((task.name,))
        labels_N = rows.labels[task.name]
        for table in counts:
            table.add(day, rows.keys[table.entity.name], labels_N)
        if day <= days[-1]:
            alone.add(rows, labels_N, judged=day in days)
        if day in days:
            memories.add(day, rows.histories, rows.keys, labels_N)
            early.add(day, rows)
    return [
        *_about_log(task.log, unread),
        *alone.findings(),
        *early.findings(),
        *about_features(counts, entities),
        *memories.findings(),
    ]


def _days_read(lane: Lane, task: Task, days: Sequence[dt.date]) -> list[dt.date]:
    """The judged days, and days run before and after them, those whose labels have matured."""
    run = [entry.day for entry in lane.days]
    matured = [day for day in run if day + dt.timedelta(days=task.matures_days) <= run[-1]]
    before = [day for day in matured if day < days[0]]
    after = [day for day in matured if day > days[-1]]
    return [*before[-OTHER_DAYS:], *days, *after[:OTHER_DAYS]]


def _about_log(log: str, unread: Sequence[dt.date]) -> list[Finding]:
    if not unread:
        return []
    reason = (
        f"{len(unread)} days beside the judged ones cannot be read any more"
        f" ({', '.join(map(str, unread[:3]))}...), so the tests see less"
    )
    return [Finding.unchecked(f"logs.{log}", reason)]
