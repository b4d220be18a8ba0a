"""The audit of a ranker's judged days, the slow half of it kept in the warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, replace

from headwater.config import FactoryConfig
from headwater.digests import digest_of
from headwater.errors import LogError
from headwater.events.tables import digests_of_files
from headwater.files import read_json, write_json
from headwater.schema import Schema
from headwater.store import Lane
from headwater.studies.auditing.findings import Audit, Finding
from headwater.studies.auditing.measures import measured
from headwater.studies.auditing.records import declared, recorded
from headwater.workspace import Workspace

METHOD = 2  # one more whenever figures change, so that kept audits are made again


def audit(workspace: Workspace, consumer: str, days: Collection[dt.date]) -> Audit:
    """Look over the judged `days` of a consumer, in the workspace's lane.

    What reads the log is measured once and kept in `audits/DIGEST.json`, under the config, the
    days, the inputs of every day that was run, and the bytes of the tables; where the log is gone,
    a finding says that it was not. Raises StoreError.
    """
    judged = sorted(days)
    config, lane = workspace.config, workspace.chain()
    found = [
        *declared(config, judged[0]),
        *recorded(config, workspace.predictions, lane, consumer, judged),
    ]
    try:
        found += _kept_or_measured(workspace, lane, consumer, judged)
    except LogError as error:
        log = config.tasks[config.downstream[consumer].task].log
        found.append(Finding.unchecked(f"logs.{log}", f"nothing was measured: {error}"))
    return Audit(consumer, judged[0], judged[-1], tuple(_trusted(config, found)))


def _kept_or_measured(
    workspace: Workspace, lane: Lane, consumer: str, judged: Sequence[dt.date]
) -> list[Finding]:
    kept = workspace.layout.audit(
        digest_of(
            METHOD,
            workspace.config.digest(),
            workspace.lane,
            consumer,
            judged,
            [entry.fingerprint for entry in lane.days],
            workspace.tombstones().digest,
            _tables(workspace.schema),
        )
    )
    if not kept.is_file():
        made = measured(workspace, lane, consumer, judged)
        write_json(kept, [asdict(one) for one in made])
    return [Finding(**raw) for raw in read_json(kept)]


def _tables(schema: Schema) -> list[str]:
    """Digests of the files that entities and seeds of histories are read from, as they are now:
    what the inputs of the days do not hold whole. Raises LogError where one is gone.
    """
    found = []
    for entity in schema.entities.values():
        if entity.paths:
            found += digests_of_files(entity.paths, f"entity {entity.name}")
    for name, history in schema.histories.items():
        if history.seed is not None:
            found += digests_of_files((history.seed.table,), f"histories.{name}.seed")
    return found


def _trusted(config: FactoryConfig, found: Iterable[Finding]) -> Iterator[Finding]:
    """The findings; those that the config trusts pass."""
    for one in found:
        if one.name in config.evaluation.trusted:
            reason = f"trusted, as evaluation.trusted says; {one.reason}"
            yield replace(one, passed=True, checked=False, reason=reason)
        else:
            yield one
