"""A day within the warehouse's lock, the replay of many days, and where a killed one goes on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from headwater.errors import ConfigError, EditionConflict, StoreError
from headwater.files import exclusive, read_json, remove_file, sweep_leftovers, write_json
from headwater.lifecycle import finish_erasures, retire
from headwater.pipeline.day import Day, run_day
from headwater.pipeline.rankers import days_to_relearn
from headwater.pipeline.run import Run
from headwater.store.reports import DayReport

ONE_DAY = dt.timedelta(days=1)


def run_or_replay(run: Run, day: Day) -> DayReport:
    """Run one day; with `day.replay`, every later day that was run is run again too.

    A replay is written down before it begins: killed in the middle, the next run of any day
    finishes it first. Raises EditionConflict for a day before one that was run.
    """
    workspace = run.workspace
    root = workspace.layout.root
    with exclusive(root):
        workspace.catalogs.begin()
        sweep_leftovers(root)
        finish_erasures(workspace)
        run.reader.refresh()
        pending = _pending(run)
        if day.replay:
            pending = _planned(run, day.date, pending)
        elif pending:
            listed = ", ".join(map(str, pending))
            path = workspace.layout.replay
            run.console.log(f"a replay was not finished: first {listed} again ({path})")
        done = _finish(run, pending, day.force)
        if day.replay:
            return done[day.date]
        days = workspace.days_done()
        later = [known for known in days if known > day.date]
        if later and day.date not in days:
            raise EditionConflict(
                f"{day.date} was never run, but {later[0]} was; averages remember, so a day cannot"
                f" be slipped in. `headwater run --day {day.date} --replace` runs it and replays"
                " the later days."
            )
        return run_day(run, day)


def backfill(run: Run, start: dt.date, end: dt.date, force: bool = False) -> Iterator[DayReport]:
    """Run the days from `start` to `end`; those done already are checked and left as they are.
    Raises ConfigError where there are none.
    """
    if end < start:
        raise ConfigError(f"backfill: --from {start} is after --to {end}.")
    days = [start + n * ONE_DAY for n in range((end - start).days + 1)]
    with run.console.progress("backfill", len(days)) as bar:
        for day in days:
            bar.title(f"{day}")
            yield run_or_replay(run, Day(day, force=force))
            bar.advance()


def check_replay(run: Run, first: dt.date) -> None:
    """Raise StoreError where the days from `first` on cannot be run again, before anything is
    touched.
    """
    workspace = run.workspace
    chain = workspace.chain()
    aligned = [entry.day for entry in chain.days if entry.aligned]
    if aligned and first <= aligned[-1]:
        raise StoreError(
            f"{first}: the lane {workspace.lane!r} was aligned on {aligned[-1]}; days up to that"
            " one are not replayed, for the rotation was fitted on them. Replay later days, or run"
            " a new lane and align that."
        )
    before = [entry for entry in chain.days if entry.day < first]
    if before and before[-1].folder is None:
        raise StoreError(
            f"{first}: the edition before it ({before[-1].day}) has left the point-in-time window"
            " (lifecycle.keep_days), so it cannot be built upon. Replay a later day, or all from"
            f" the first one, {before[0].day}."
        )
    for known in days_to_relearn(run, first):
        workspace.served_on(known - dt.timedelta(days=workspace.longest_wait_days))


def _planned(run: Run, day: dt.date, pending: list[dt.date]) -> list[dt.date]:
    """The days to run again, written down. Raises LogError for one that cannot be read, which must
    not cost the days that can.
    """
    done = run.workspace.days_done()
    again = sorted({day, *pending, *(known for known in done if known > day)})
    check_replay(run, again[0])
    for known in again:
        run.reader.read(known, done)
    _write(run, again)
    return again


def _pending(run: Run) -> list[dt.date]:
    """The days that a replay has still to do; none where they were rolled back."""
    path = run.workspace.layout.replay
    if not path.is_file():
        return []
    pending = [dt.date.fromisoformat(day) for day in read_json(path)]
    done = run.workspace.days_done()
    if done and pending[0] > done[-1]:
        remove_file(path)
        return []
    return pending


def _finish(run: Run, pending: list[dt.date], force: bool) -> dict[dt.date, DayReport]:
    """Run again, oldest first, the days that a replay has still to do."""
    reports = {}
    left = pending
    while left:
        reports[left[0]] = run_day(run, Day(left[0], replay=True, force=force))
        left = left[1:]
        _write(run, left)
        if not left:
            retire(run.workspace)
    return reports


def _write(run: Run, days: list[dt.date]) -> None:
    path = run.workspace.layout.replay
    if days:
        write_json(path, [str(day) for day in days])
    else:
        remove_file(path)
