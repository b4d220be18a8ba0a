"""What rankers are timed on: the same rows, which the last day taught."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headwater.backtests.backtest import Backtested
from headwater.errors import ExperimentError
from headwater.events import Examples
from headwater.models.downstream import VariantTask
from headwater.pipeline.run import Run

TIMED_ROWS = 8192


def last_taught(run: Run, consumer: str) -> Examples:
    """The rows that the last day run taught the consumer. Raises ExperimentError where there are
    none.
    """
    spec = run.workspace.config.downstream[consumer]
    done = run.workspace.days_done()
    inputs = run.reader.read(done[-1], done)
    matured = inputs.matured(run.workspace.schema.tasks[spec.task])
    if matured is None or not len(matured.examples.where_defined((spec.task,))):
        raise ExperimentError(
            f"T4: no row of {inputs.day}, the last day run, has taught the consumer {consumer!r};"
            " run one more day."
        )
    return matured.examples.where_defined((spec.task, *spec.also))


def timed_tasks(
    run: Run, backtested: Mapping[str, Backtested], taught: Examples
) -> dict[str, VariantTask]:
    """One task for each ranker, all on the first of the rows that were taught."""
    some = taught.take(np.arange(min(len(taught), TIMED_ROWS)))
    day = run.workspace.days_done()[-1]
    tasks = {}
    for name, one in backtested.items():
        plan = one.run.rankers[0]
        tasks[name] = VariantTask(
            plan=plan,
            day=day,
            rows=plan.reads(some),
            view=run.workspace.served_on(taught.day),
            before=None,
            folder=one.run.workspace.layout.timed,
            fingerprint="timed",
        )
    return tasks
