"""A backtest: the days of a factory once more, under another policy, with other rankers, or with
other upstreams.

Unless these are others, it trains none: it folds the factory's daily snapshots into editions of its
own, in `backtests/NAME/` in the warehouse, and lets rankers be judged on them day by day.
Interrupted, it goes on where it was; finished, it keeps what was judged and lets the rest go.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from headwater.blobs import Layout
from headwater.config import (
    AnyUpstreamConfig,
    DownstreamConfig,
    FactoryConfig,
    OnlineConfig,
    PolicyConfig,
    shaping,
)
from headwater.digests import canonical_json, digest_of
from headwater.engine import make_engine
from headwater.errors import ExperimentError
from headwater.evaluation import Judged
from headwater.files import exclusive, keep_only, remove_folder, write_json
from headwater.pipeline.day import Day
from headwater.pipeline.replay import run_or_replay
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.judged import expect_consumer
from headwater.version import __version__
from headwater.workspace import Workspace

DONE = "done.json"
NOTHING_ONLINE = OnlineConfig(kind="none")
KEPT = ("judged", "reports")


@dataclass(frozen=True)
class Backtest:
    """What is other than in the factory: the policy, the consumer's settings, its variants, and how
    many days older than usual the vectors are that it predicts with (once for each of
    `stale_days`). With `upstreams` it trains these anew, day by day, and its vectors are theirs.
    """

    spec: DownstreamConfig
    variants: tuple[str, ...]
    policy: PolicyConfig | None = None
    stale_days: tuple[int, ...] = (0,)
    upstreams: Mapping[str, AnyUpstreamConfig] | None = None


@dataclass(frozen=True)
class Backtested:
    """A backtest that ran: what it was made of, and what its rankers were judged on."""

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
    """The days that a backtest can run: those whose daily vectors are kept. Raises ExperimentError
    where there are none, or no such consumer.
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
    """Run them all and pool what each was judged on: the same rows. Raises ExperimentError."""
    days, layout = days_of(run, table, consumer), run.workspace.layout
    made = {name: run_of(run, consumer, what, len(backtests)) for name, what in backtests.items()}
    # The lock: nothing may be erased, or go, while its daily vectors are read.
    with (
        exclusive(layout.root),
        run.console.progress(table, len(made) * len(days)) as bar,
    ):
        _forget_others(run.workspace)

        def go_through(name: str) -> None:
            for day in _days_run(made[name], days):
                bar.title(f"{table} {name} {day}")
                bar.advance()

        # A ranker trains in a worker process, so several backtests go on at once; without workers,
        # one after the other.
        with ThreadPoolExecutor(max(1, run.workspace.config.workers)) as pool:
            list(pool.map(go_through, made))
    return _pooled(run, table, consumer, made, days)


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


def judged_by(backtested: Mapping[str, Backtested]) -> list[tuple[str, Judged]]:
    """What each backtest was judged on, by its name."""
    return [(name, found.judged) for name, found in backtested.items()]


def merged(parts: Mapping[str, Judged]) -> Judged:
    """One Judged of several on the same rows: each gives the variants that none before it gave."""
    scores: dict[str, Mapping[int, np.ndarray]] = {}
    for part in parts.values():
        scores |= {
            variant: values for variant, values in part.scores.items() if variant not in scores
        }
    return replace(next(iter(parts.values())), scores=scores)


def _pooled(
    run: Run, table: str, consumer: str, made: Mapping[str, Run], days: Sequence[dt.date]
) -> dict[str, Backtested]:
    span, found = run.workspace.config.evaluation, dict[str, Backtested]()
    for name, other in made.items():
        judged = other.workspace.predictions.pooled(consumer, span.start, span.end, days)
        first = next(iter(found.values())).judged if found else judged
        if not (
            np.array_equal(judged.labels_N, first.labels_N)
            and np.array_equal(judged.users_N, first.users_N)
        ):
            raise ExperimentError(
                f"{table}: {name!r} was judged on other rows than the first; remove"
                f" {other.workspace.layout.root} and try again."
            )
        found[name] = Backtested(other, judged)
    return found


def run_of(run: Run, consumer: str, what: Backtest, beside: int = 1) -> Run:
    """A run in a warehouse of its own that takes the daily vectors of `run`, unless it trains
    upstreams of its own. Its gates report only.
    """
    workspace = run.workspace
    config = _config_of(workspace.config, consumer, what, beside)
    folder = workspace.layout.backtests / _name_of(workspace, consumer, what)
    layout = Layout(folder)
    made = Workspace(config, workspace.root, layout, origin=workspace.origin)
    return Run(
        workspace=made,
        engine=make_engine(config.engine, config.workers),
        lender=workspace if what.upstreams is None else None,
        published=False,
        stale_days=what.stale_days,
    )


def _config_of(config: FactoryConfig, consumer: str, what: Backtest, beside: int) -> FactoryConfig:
    """The factory's config with what is other; nothing of it goes live, leaves or is served."""
    policy = what.policy or config.lifecycle.policy
    kept = {"policy": policy, "keep_days": 10_000, "promote": "manual"}
    ranker = what.spec.model_copy(update={"variants": what.variants})
    changes: dict[str, object] = {
        "workers": config.workers if beside == 1 else min(1, config.workers),
        "downstream": {consumer: ranker},
        "lanes": {},
        "lifecycle": config.lifecycle.model_copy(update=kept),
        "gates": config.gates.model_copy(update={"settle_days": 10_000}),
        "store": config.store.model_copy(update={"online": NOTHING_ONLINE}),
    }
    if what.upstreams is not None:
        changes["upstreams"] = dict(what.upstreams)
        changes["retrieval"] = config.retrieval.model_copy(update={"upstream": None})
    return config.model_copy(update=changes)


def _name_of(workspace: Workspace, consumer: str, what: Backtest) -> str:
    policy, upstreams = what.policy or workspace.config.lifecycle.policy, what.upstreams
    settings = canonical_json(
        [
            policy.model_dump(mode="json"),
            what.spec.model_dump(mode="json"),
            what.variants,
            what.stale_days,
            None if upstreams is None else shaping(upstreams),
        ]
    )
    made = digest_of(settings, consumer, workspace.config.digest(), workspace.lane)
    return f"{made[:16]}-{_state(workspace)}"


def _state(workspace: Workspace) -> str:
    """Of all that backtests are made from: the days, their inputs, their vectors, who was erased,
    and the code.
    """
    entries = workspace.chain().days
    days, last = [str(entry.day) for entry in entries], entries[-1]
    erased = workspace.tombstones().digest
    made = digest_of(__version__, days, last.fingerprint, last.digest, last.aligned, erased)
    return made[:16]


def _forget_others(workspace: Workspace) -> None:
    """Backtests of other days or vectors are of no use any more; those of these days may yet serve
    another table.
    """
    for other in workspace.layout.backtests_on_disk():
        if not other.name.endswith(_state(workspace)):
            remove_folder(other)
