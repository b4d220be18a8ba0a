"""Our upstream's supervised output: `fit_day` on all days up to the last, as a factory trains it,
then `predict`; see contender.py.

The counting features, which all others are handed, join the context's numbers: towers make counts
of histories themselves, overtowers cannot.
"""

from __future__ import annotations

import datetime as dt
import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.upstream_quality.arrays import TASK, workspace_of
from benchmarks.upstream_quality.contender import Job
from headwater.events import Examples
from headwater.models.upstream import plan_of
from headwater.models.upstream.derm.embedding import predict
from headwater.models.upstream.derm.learning import fit_day
from headwater.models.upstream.derm.plan import DermPlan
from headwater.models.upstream.derm.work import DermDay


def with_counters(rows: Examples) -> Examples:
    return replace(rows, context=rows.context.with_numbers(rows.counters["full"]))


def reading_counters(plan: DermPlan, rows: Examples) -> DermPlan:
    """The plan for rows to whose context counters were added."""
    return replace(
        plan,
        contexts={
            log: replace(spec, numeric=rows.context.numeric_NF.shape[1])
            for log, spec in plan.contexts.items()
        },
    )


def main() -> None:
    job = Job.of_arguments()
    with (job.folder / "examples.pickle").open("rb") as file:
        days = [with_counters(rows) for rows in pickle.load(file)]
    learn = tuple(rows for rows in days if rows.day.toordinal() <= job.until)
    show = next(rows for rows in days if rows.day.toordinal() == job.predict)
    data = Path(os.environ["HEADWATER_DATA"]) / "kuairand"

    def fit_and_score(seed: int) -> np.ndarray:
        with tempfile.TemporaryDirectory() as root:
            workspace = workspace_of(data, job.setting | {"seed": seed}, Path(root))
            declared = plan_of(workspace.config, workspace.schema, "ctr").detail
            plan = reading_counters(declared, show)
            task = DermDay(
                plan,
                dt.date.fromordinal(job.until),
                learn,
                (learn[-1],),
                None,
                Path(root) / "model",
                "benchmark",
            )
            fit_day(task)
            return predict(task, show)[TASK]

    job.run(fit_and_score)


if __name__ == "__main__":
    main()
