"""A backtest: the days of a factory once more, under another policy, with other rankers, or with
other upstreams.

Unless these are others, it trains none: it folds the factory's daily snapshots into editions of its
own, in `backtests/NAME/` in the warehouse, and lets rankers be judged on them day by day.
Interrupted, it goes on where it was; finished, it keeps what was judged and lets the rest go.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from headwater import __version__
from headwater.config import DownstreamConfig, PolicyConfig, UpstreamConfig
from headwater.console import SILENT
from headwater.digests import canonical_json, digest_of
from headwater.errors import ExperimentError
from headwater.evaluation import Judged
from headwater.files import exclusive, write_json
from headwater.pipeline.day import Factory

DONE = "done.json"
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
    upstreams: Mapping[str, UpstreamConfig] | None = None


def days_of(factory: Factory, table: str, consumer: str) -> list[dt.date]:
    """The days that a backtest can run: those whose daily vectors are kept. Raises ExperimentError
    where there are none, or no such consumer.
    """
    days = [
        day for day in factory.days_done() if factory.entry(day).folder is not None
    ]  # daily vectors are kept as long as editions
    if consumer not in factory.config.downstream:
        raise ExperimentError(
            f"{table} is about the consumer {consumer!r}; this factory has:"
            f" {', '.join(factory.config.downstream) or 'none'}. Name one with --consumer, or"
            f" declare downstream.{consumer} in factory.yaml."
        )
    if not days:
        raise ExperimentError(
            f"{table}: the lane {factory.lane!r} has no day whose daily vectors are kept. Run days"
            " with `headwater backfill`."
        )
    return days


def backtest(
    factory: Factory, table: str, consumer: str, backtests: Mapping[str, Backtest]
) -> dict[str, tuple[Factory, Judged]]:
    """Run them all and pool what each was judged on: the same rows. Raises ExperimentError."""
    days = days_of(factory, table, consumer)
    made = {
        name: factory_of(factory, consumer, what, len(backtests))
        for name, what in backtests.items()
    }
    # The lock: nothing may be erased, or go, while its daily vectors are read.
    with (
        exclusive(factory.warehouse),
        factory.console.progress(table, len(made) * len(days)) as bar,
    ):
        _forget_others(factory)

        def run(name: str) -> None:
            done = made[name].warehouse / DONE
            try:
                for day in days:
                    if not done.is_file():
                        made[name].run_day(day)
                    bar.title(f"{table} {name} {day}")
                    bar.advance()
            finally:
                made[name].close()
            write_json(done, [str(day) for day in days])
            for part in made[name].warehouse.iterdir():
                if part.is_dir() and part.name not in KEPT:
                    shutil.rmtree(part)

        # a ranker trains in a worker process, so several backtests go on at once; without workers,
        # one after the other
        with ThreadPoolExecutor(max(1, factory.config.workers)) as pool:
            list(pool.map(run, made))
    return _pooled(factory, table, consumer, made, days)


def merged(parts: Mapping[str, Judged]) -> Judged:
    """One Judged of several on the same rows: each gives the variants that none before it gave."""
    scores: dict[str, Mapping[int, np.ndarray]] = {}
    for part in parts.values():
        scores |= {
            variant: values for variant, values in part.scores.items() if variant not in scores
        }
    return replace(next(iter(parts.values())), scores=scores)


def _pooled(
    factory: Factory,
    table: str,
    consumer: str,
    made: Mapping[str, Factory],
    days: Sequence[dt.date],
) -> dict[str, tuple[Factory, Judged]]:
    span, found = factory.config.evaluation, dict[str, tuple[Factory, Judged]]()
    for name, backtest in made.items():
        judged = backtest.judgements.pooled(consumer, span.start, span.end, days)
        first = next(iter(found.values()))[1] if found else judged
        if not (
            np.array_equal(judged.labels_N, first.labels_N)
            and np.array_equal(judged.users_N, first.users_N)
        ):
            raise ExperimentError(
                f"{table}: {name!r} was judged on other rows than the first; remove"
                f" {backtest.warehouse} and try again."
            )
        found[name] = backtest, judged
    return found


def factory_of(factory: Factory, consumer: str, what: Backtest, beside: int = 1) -> Factory:
    """A factory that takes the daily vectors of `factory`. Its gates report only."""
    policy = what.policy or factory.config.lifecycle.policy
    workers = factory.config.workers if beside == 1 else min(1, factory.config.workers)
    config = factory.config.model_copy(
        update={
            "workers": workers,
            "downstream": {consumer: what.spec.model_copy(update={"variants": what.variants})},
            "lanes": {},
            "lifecycle": factory.config.lifecycle.model_copy(
                update={"policy": policy, "keep_days": 10_000, "promote": "manual"}
            ),
            "gates": factory.config.gates.model_copy(update={"settle_days": 10_000}),
            "store": factory.config.store.model_copy(update={"online": "none"}),
        }
    )
    if what.upstreams is not None:
        retrieval = factory.config.retrieval.model_copy(update={"upstream": None})
        config = config.model_copy(
            update={"upstreams": dict(what.upstreams), "retrieval": retrieval}
        )
    upstreams = (
        {name: spec.model_dump(mode="json") for name, spec in what.upstreams.items()}
        if what.upstreams is not None
        else None
    )
    settings = canonical_json(
        [
            policy.model_dump(mode="json"),
            what.spec.model_dump(mode="json"),
            what.variants,
            what.stale_days,
            upstreams,
        ]
    )
    name = (
        digest_of(settings, consumer, factory.config.digest(), factory.lane)[:16]
        + "-"
        + _state(factory)
    )
    return Factory(
        config,
        factory.root,
        SILENT,
        source=factory,
        warehouse=factory.warehouse / "backtests" / name,
        stale_days=what.stale_days,
        relearns=what.upstreams is not None,
    )


def _state(factory: Factory) -> str:
    """Of all that backtests are made from: the days, their inputs, their vectors, who was erased,
    and the code.
    """
    last = factory.entry(factory.days_done()[-1])
    days = [str(day) for day in factory.days_done()]
    return digest_of(
        __version__, days, last.fingerprint, last.digest, last.aligned, factory.tombstones.digest
    )[:16]


def _forget_others(factory: Factory) -> None:
    """Backtests of other days or vectors are of no use any more; those of these days may yet serve
    another table.
    """
    for other in (factory.warehouse / "backtests").glob("*"):
        if not other.name.endswith(_state(factory)):
            shutil.rmtree(other)
