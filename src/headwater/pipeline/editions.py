"""The day's edition: composed, looked at by the gates, and published by one switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headwater.config import GateConfig
from headwater.embeddings.gates.checks import check_evidence
from headwater.embeddings.gates.evidence import Evidence, GateResult, Probe
from headwater.errors import GateError
from headwater.lifecycle import switch_to
from headwater.lifecycle.align import rotations_of
from headwater.lifecycle.monitoring import Subject, evidence_of, health_of
from headwater.models.upstream import UpstreamPlan
from headwater.pipeline.inputs import DayInputs
from headwater.pipeline.upstreams import DailyResult
from headwater.store import Composed, Edition, EditionView, Entry, Provenance, compose
from headwater.store.reports import DayReport, SnapshotHealth, write_report
from headwater.store.rewrite import set_aside
from headwater.workspace import Workspace

LAST_EDITIONS = 7  # what a day's counts are compared with
PROBE_ROWS = 10_000


@dataclass(frozen=True)
class Gated:
    """What the gates found, by snapshot, and which of them `force` overruled."""

    health: Mapping[str, SnapshotHealth]
    forced: tuple[str, ...]


def coverage(
    plans: Mapping[str, UpstreamPlan], served: EditionView, inputs: DayInputs
) -> dict[str, float]:
    """Share of today's rows whose entity was served a vector, by embedding."""
    found = {}
    for plan in plans.values():
        for entity in plan.entities:
            keys = np.concatenate([inputs.today(log).keys[entity] for log in plan.logs])
            read = served.read(plan.embedding(entity), keys, inputs.day)
            share = 0.0 if read is None else float(read.found_N.mean())
            found[plan.embedding(entity)] = share
    return found


def compose_day(
    workspace: Workspace, inputs: DayInputs, result: DailyResult, again: bool
) -> Composed:
    """Aggregate yesterday's edition with today's vectors. Nobody reads the result until it is
    published. `again`: what was written before is not trusted.
    """
    before = workspace.edition_before(inputs.day)
    rotations = rotations_of(before) if before is not None else {}
    source = Provenance(result.models, result.folders, rotations)
    layout, rule = workspace.layout, workspace.rule
    return compose(layout, inputs.day, before, result.daily, rule, source, again)


def last_editions(workspace: Workspace, inputs: DayInputs) -> list[Edition]:
    """The editions of the last days done that are kept, newest first."""
    entries = [entry for entry in workspace.chain().days if entry.day < inputs.day]
    newest = entries[: -1 - LAST_EDITIONS : -1]
    return [workspace.open(entry) for entry in newest if entry.folder is not None]


def subjects_of(
    composed: Composed,
    result: DailyResult,
    last: Sequence[Edition],
    covered: Mapping[str, float],
) -> list[Subject]:
    """What the gates are to look at, a snapshot each."""
    rotations = rotations_of(composed.edition)
    return [
        Subject(name, composed, daily, rotations.get(daily.space.upstream), last, covered.get(name))
        for name, daily in result.daily.items()
    ]


def gate(
    subjects: Sequence[Subject],
    plans: Mapping[str, UpstreamPlan],
    inputs: DayInputs,
    gates: GateConfig,
    seed: int | None,
) -> tuple[dict[str, SnapshotHealth], list[GateResult]]:
    """Look at the composed snapshots: what was found by snapshot, and all checks. Without a `seed`
    nothing is checked, only measured.
    """
    health, results = dict[str, SnapshotHealth](), list[GateResult]()
    for subject in subjects:
        space, name = subject.daily.space, subject.name
        plan = plans[space.upstream]
        edition, before = subject.composed.edition, subject.last[0] if subject.last else None
        asked = subject.daily.entity == "user"
        probe = probe_of(plan, inputs, edition, before) if asked else None
        evidence: Evidence = evidence_of(subject, probe)
        if (inputs.day - space.opened).days < gates.settle_days:
            evidence = replace(evidence, young=True)
        checks = [] if seed is None else check_evidence(evidence, gates, seed)
        health[name] = health_of(edition, evidence, checks)
        results += checks
    return health, results


def admit(
    workspace: Workspace,
    composed: Composed,
    health: Mapping[str, SnapshotHealth],
    results: Sequence[GateResult],
    force: bool,
) -> Gated:
    """Let an edition pass, or set it aside for inspection and raise GateError; with `force` it
    passes, and which gates it overruled is said.
    """
    day = composed.edition.day
    failed = [
        f"{check.snapshot}: {check.check} is {check.figure:.4g}, allowed {check.threshold:.4g}:"
        f" {check.reason}"
        for check in results
        if not check.passed
    ]
    if failed and not force:
        snapshots = {name: found.as_json() for name, found in health.items()}
        reasons = {"day": str(day), "failed": failed, "snapshots": snapshots}
        kept = set_aside(workspace.layout, composed.edition, reasons)
        raise GateError(
            f"edition {day} was refused and nothing was published:\n  - "
            + "\n  - ".join(failed)
            + f"\nIt lies in {kept} for inspection. Look at that day's log; thresholds are in"
            " factory.yaml under `gates`; `--force` publishes it all the same, and says so."
        )
    return Gated(health, tuple(failed))


def probe_of(
    plan: UpstreamPlan, inputs: DayInputs, now: Edition, before: Edition | None
) -> Probe | None:
    """Rows of today with the vectors of their user and item and the label of the upstream's first
    task; None where that is not known today, or the upstream makes no pair.
    """
    log = plan.logs[0]
    task, today = plan.tasks[log][0], inputs.today(log)
    pair = {side: plan.embedding(side) for side in ("user", "item")}
    if task not in today.labels or not set(pair.values()) <= set(now.snapshots):
        return None
    rows = _probed(today.labels[task])
    same = before is not None and all(
        part in before.snapshots and before.space(part) == now.space(part) for part in pair.values()
    )

    def vectors(edition: Edition, side: str) -> np.ndarray:
        return edition.lookup(pair[side], today.keys[side][rows], inputs.day).vectors_ND

    return Probe(
        today.labels[task][rows],
        vectors(now, "user"),
        vectors(now, "item"),
        vectors(before, "user") if same and before is not None else None,
        vectors(before, "item") if same and before is not None else None,
    )


def _probed(labels_N: np.ndarray) -> np.ndarray:
    """Rows with a label, evenly spread, at most PROBE_ROWS of them."""
    known = np.flatnonzero(~np.isnan(labels_N))
    if len(known) == 0:
        return known
    spread = np.linspace(0, len(known) - 1, min(len(known), PROBE_ROWS))
    return known[np.unique(spread.astype(np.int64))]


def publish(workspace: Workspace, edition: Edition, report: DayReport, erasures: str) -> None:
    """The switch: the report joins its edition, the online store and the indexes are filled, and
    then the catalog is written once. `erasures` is the digest of the tombstones that the day was
    made under.
    """
    write_report(edition.folder, report)
    day, lane, catalog = edition.day, workspace.lane, workspace.catalog()
    folder = workspace.layout.key(edition.folder)
    entry = Entry(day, edition.digest, folder, report.fingerprint, erasures, report.forced)
    is_live = lane == workspace.live_lane()
    go_live = is_live and workspace.config.lifecycle.promote == "auto"
    days = [known.day for known in catalog.lane(lane).days]
    if days and day < days[-1]:
        go_live = False  # a replay of an earlier day; readers stay on the newest
        if day not in days:
            catalog = catalog.slipped_in(lane, entry)
    switch_to(workspace, catalog.published(lane, entry, go_live))
