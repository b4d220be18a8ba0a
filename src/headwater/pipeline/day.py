"""The day, in order. Read `run_day` first: it is the table of contents of Headwater."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from headwater.console import Console, timed
from headwater.errors import StoreError
from headwater.lifecycle import switch_to
from headwater.models.training import day_seed
from headwater.pipeline.editions import (
    Gated,
    admit,
    compose_day,
    coverage,
    gate,
    last_editions,
    publish,
    subjects_of,
)
from headwater.pipeline.inputs import DayInputs, conflict, fingerprint_of
from headwater.pipeline.predict import judge
from headwater.pipeline.rankers import learn, restore_rankers
from headwater.pipeline.run import Run
from headwater.pipeline.tidy import tidy
from headwater.pipeline.tracking import track
from headwater.pipeline.upstreams import DailyResult
from headwater.store import Composed, Edition
from headwater.store.reports import DayReport, Quality, read_report


@dataclass(frozen=True)
class Day:
    """A day to run; `replay`: also if it was done; `force`: over what gates refuse."""

    date: dt.date
    replay: bool = False
    force: bool = False


def run_day(run: Run, day: Day) -> DayReport:
    """One day: judge, learn, embed, aggregate, gate, learn downstream, report, and the switch that
    makes it all true.

    Deterministic and resumable: each step writes whole or not at all under the fingerprint of its
    inputs, and the catalog, written last, marks the day as done. A day done from the same inputs is
    left as it is; from others, EditionConflict.
    """
    workspace, seconds = run.workspace, dict[str, float]()
    with timed(seconds, "read"):
        done = workspace.days_done()
        inputs = run.reader.read(day.date, done)  # read once
        earlier = workspace.done_before(day.date)
        last = workspace.entry(earlier[-1]) if earlier else None
        fingerprint = fingerprint_of(workspace.config, inputs, last)
    if day.date in done and not day.replay:
        return leave_or_refuse(run, day.date, fingerprint)
    with timed(seconds, "judge"):
        restore_rankers(run, day.date)
        # Yesterday's models on today's traffic: every day is an honest test.
        quality = judge(run, inputs, fingerprint)
    with timed(seconds, "upstream"):
        # Warm start, the same space; then the last vector of the day.
        fresh = run.vectors.daily(inputs, workspace.edition_before(day.date))
    with timed(seconds, "publish"):
        covered = coverage(run.plans, workspace.served_on(day.date), inputs)
        # Aggregate: written, but nobody reads it yet.
        composed = compose_day(workspace, inputs, fresh, again=day.replay)
        gated = gate_day(run, inputs, composed, fresh, covered, day.force)  # may refuse
    with timed(seconds, "downstream"):
        # With what was served, never with today's vectors.
        learn(run, inputs, fingerprint, again=day.replay)
    report = report_of(inputs, fingerprint, composed, quality, fresh, covered, gated)
    publish(workspace, composed.edition, report, run.reader.tombstones.digest)  # the one switch
    if run.published:
        name = f"{workspace.config.name}.{workspace.lane}"
        track(workspace.config.tracking, name, workspace.layout, report, run.console)
    tidy(run, day.date, day.replay)
    _say(run.console, report, seconds)
    return report


def gate_day(
    run: Run,
    inputs: DayInputs,
    composed: Composed,
    fresh: DailyResult,
    covered: Mapping[str, float],
    force: bool,
) -> Gated:
    """Look at the composed edition before it is published. Raises GateError: the edition is set
    aside for inspection, nothing is published.
    """
    workspace = run.workspace
    last = last_editions(workspace, inputs)
    subjects = subjects_of(composed, fresh, last, covered)
    # A backtest publishes to nobody: it only writes down what it sees.
    seed = day_seed(workspace.config.seed, inputs.day) if run.published else None
    health, results = gate(subjects, run.plans, inputs, workspace.config.gates, seed)
    gated = admit(workspace, composed, health, results, force)
    if gated.forced:
        run.console.log(
            f"[bold]{inputs.day}[/bold] published by force, over {len(gated.forced)} gates:"
            f" {'; '.join(gated.forced)}"
        )
    return gated


def report_of(
    inputs: DayInputs,
    fingerprint: str,
    composed: Composed,
    quality: Mapping[str, Quality],
    fresh: DailyResult,
    covered: Mapping[str, float],
    gated: Gated,
) -> DayReport:
    """What is written down of the day."""
    events = inputs.events.items()
    return DayReport(
        day=inputs.day,
        fingerprint=fingerprint,
        edition=composed.edition.digest,
        upstream=fresh.training,
        quality=quality,
        rows=inputs.rows(),
        rejected={log: dict(found.rejected) for log, found in events},
        erased={log: found.erased for log, found in events if found.erased},
        coverage=covered,
        forced=gated.forced,
        snapshots=gated.health,
    )


def leave_or_refuse(run: Run, day: dt.date, fingerprint: str) -> DayReport:
    """A day done already: nothing to do if its inputs are the same. Raises EditionConflict if not,
    StoreError where its edition is gone.
    """
    workspace = run.workspace
    entry = workspace.entry(day)
    # Who has been erased since is missing from its inputs now.
    comparable = entry.erasures == run.reader.tombstones.digest
    if comparable and entry.fingerprint != fingerprint:
        raise conflict(day, entry.fingerprint, fingerprint)
    if entry.folder is None:
        run.console.log(f"[bold]{day}[/bold] was published, and has left the point-in-time window")
        return DayReport(day, entry.fingerprint, entry.digest)
    there = Edition.is_there(workspace.layout.home / entry.folder)
    edition = workspace.open(entry) if there else None
    report = read_report(edition.folder) if edition is not None else None
    if edition is None or edition.digest != entry.digest or report is None:
        raise StoreError(
            f"day {day} was run, but its edition is gone or another. `headwater run --day"
            f" {day} --replace` makes it again, and every later day."
        )
    # In case the run was killed amid the switch, or a store was lost.
    switch_to(workspace, workspace.catalog())
    note = "" if comparable else " (an entity was erased since, so its inputs cannot be compared)"
    shown = entry.digest[:12]
    run.console.log(f"[bold]{day}[/bold] already published, unchanged{note}", edition=shown)
    return report


def _say(console: Console, report: DayReport, seconds: Mapping[str, float]) -> None:
    figures = {"rows": f"{sum(report.rows.values()):,}"}
    for ranker, judged in report.quality.items():
        measured = {"AUC": judged.roc_auc, f"AUC within {judged.group}": judged.group_auc}
        for what, aucs in measured.items():
            none, reading = aucs.get("none"), aucs.get("all")
            if none is not None and reading is not None:
                figures[f"{ranker} {what}"] = f"{none:.4f} -> {reading:.4f}"
    figures |= {name: f"{value:.1f}s" for name, value in seconds.items()}
    console.log(f"[bold]{report.day}[/bold] published", **figures)
