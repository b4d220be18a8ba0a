"""A backtest: the days of a factory once more, under another policy, with other rankers, or with
other upstreams.

Unless these are others, it trains none: it folds the factory's daily snapshots into editions of its
own, in `backtests/NAME/` in the warehouse, and lets rankers be judged on them day by day.
Interrupted, it goes on where it was; finished, it keeps what was judged and lets the rest go.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from headwater.backtests.runs import Backtest, forget_others, run_of
from headwater.errors import ExperimentError
from headwater.evaluation import Judged
from headwater.files import exclusive, keep_only, write_json
from headwater.pipeline.day import Day
from headwater.pipeline.replay import run_or_replay
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.judged import expect_consumer

__all__ = [
    "Backtest",
    "Backtested",
    "backtest",
    "days_of",
    "merged",
    "renamed",
    "run_of",
    "running",
]

DONE = "done.json"
KEPT = ("judged", "reports")


@dataclass(frozen=True)
class Backtested:
    """A backtest that ran: its run, and what its rankers were judged on."""

    run: Run
    judged: Judged


@contextmanager
def running(asked: Asked) -> Iterator[Run]:
    """The run of a factory that a study asks about, until its table is made."""
    run = Run.of(asked.workspace, asked.console)
    try:
        yield run
    finally:
        run.close()


def days_of(run: Run, table: str, consumer: str) -> list[dt.date]:
    """The days that a backtest can run: those whose daily vectors are kept.

    Raises ExperimentError where there are none, or no such consumer.
    """
    workspace = run.workspace
    expect_consumer(workspace, table, consumer)
    # Daily vectors are kept as long as editions.
    days = [entry.day for entry in workspace.chain().days if entry.folder is not None]
    if not days:
        raise ExperimentError(
            f"{table}: the lane {workspace.lane!r} has no day whose daily vectors are kept. Run"
            " days with `headwater backfill`."
        )
    return days


def backtest(
    run: Run, table: str, consumer: str, backtests: Mapping[str, Backtest]
) -> dict[str, Backtested]:
    """Run them all, by name, and pool what each was judged on: the same rows.

    Raises ExperimentError where no day can be run, or none was judged.
    """
    days = days_of(run, table, consumer)
    runs = {name: run_of(run, consumer, what, len(backtests)) for name, what in backtests.items()}
    # The lock: nothing may be erased, or go, while its daily vectors are read.
    with (
        exclusive(run.workspace.layout.root),
        run.console.progress(table, len(runs) * len(days)) as bar,
    ):
        forget_others(run.workspace)

        def go_through(name: str) -> None:
            for day in _days_run(runs[name], days):
                bar.title(f"{table} {name} {day}")
                bar.advance()

        # A ranker trains in a worker process, so several backtests go on at once; without workers,
        # one after the other.
        with ThreadPoolExecutor(max(1, run.workspace.config.workers)) as pool:
            list(pool.map(go_through, runs))
    found = {
        name: Backtested(made, backtests[name].asked(made.workspace.judged(consumer, days)))
        for name, made in runs.items()
    }
    _expect_same_rows(table, found)
    return found


def _days_run(made: Run, days: Sequence[dt.date]) -> Iterator[dt.date]:
    """Run the days, unless that was done before; then keep what was judged, and let the rest go."""
    folder = made.workspace.layout.root
    done = folder / DONE
    try:
        for day in days:
            if not done.is_file():
                run_or_replay(made, Day(day))
            yield day
    finally:
        made.close()
    write_json(done, [str(day) for day in days])
    keep_only(folder, KEPT)


def _expect_same_rows(table: str, found: Mapping[str, Backtested]) -> None:
    """Raise ExperimentError where a backtest was judged on other rows than the first."""
    first = next(iter(found.values())).judged
    for name, one in found.items():
        if not (
            np.array_equal(one.judged.labels_N, first.labels_N)
            and np.array_equal(one.judged.users_N, first.users_N)
        ):
            raise ExperimentError(
                f"{table}: {name!r} was judged on other rows than the first; remove"
                f" {one.run.workspace.layout.root} and try again."
            )


def renamed(judged: Judged, name: str) -> Judged:
    """The one variant that was judged, under another name."""
    (scores,) = judged.scores.values()
    return replace(judged, scores={name: scores})


def merged(parts: Iterable[Judged]) -> Judged:
    """One Judged of several on the same rows: each gives the variants that none before it gave."""
    first, *others = parts
    scores = dict(first.scores)
    for part in others:
        for variant, values in part.scores.items():
            scores.setdefault(variant, values)
    return replace(first, scores=scores)
