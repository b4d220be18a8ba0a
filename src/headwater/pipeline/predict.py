"""Yesterday's rankers predict today's traffic with what was served: every day is an honest test."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from headwater.config import NONE, DownstreamConfig
from headwater.evaluation import Judged, metrics_of
from headwater.evaluation.within import ranked_within
from headwater.events import Examples, groups_of
from headwater.models.downstream import (
    Predicted,
    RankerJob,
    RankerPlan,
    fall_back,
    judged_rows,
    predict_day,
)
from headwater.pipeline.inputs import DayInputs
from headwater.pipeline.rankers import Checkpoints, shares
from headwater.schema import Task
from headwater.store import EditionView
from headwater.store.reports import Quality

if TYPE_CHECKING:
    from headwater.pipeline.run import Run

Scores = dict[str, dict[int, np.ndarray]]  # by variant and seed


def judge(run: Run, inputs: DayInputs, fingerprint: str) -> dict[str, Quality]:
    """Every variant predicts today's rows as it would have been served; predictions meet their
    labels when those mature. Returns, by ranker, how it did on the day whose labels are known now.
    """
    workspace = run.workspace
    config, tasks = workspace.config, workspace.schema.tasks
    asked = {name: tasks[spec.task] for name, spec in config.downstream.items()}
    share = config.evaluation.users_share
    rows = {
        name: rows_to_predict(task, inputs.today(task.log), share) for name, task in asked.items()
    }
    views = _views(run, inputs.day)
    scores = _predicted(run, inputs, views, fingerprint)
    edition = views[0].edition
    read = None if edition is None else workspace.entry(edition.day)
    quality: dict[str, Quality] = {}
    for name, by_variant in scores.items():
        task = asked[name]
        today = inputs.today(task.log)
        groups = groups_of(inputs.events[task.log])
        workspace.predictions.predicted(name, today, rows[name], by_variant, groups, read)
        matured = inputs.matured(task)
        if matured is not None:
            judged = workspace.predictions.settle(
                name, matured.examples, task.name, workspace.grouping(task.log)
            )
            quality[name] = quality_of(matured.examples.day, judged)
    return quality


def quality_of(day: dt.date, judged: Judged) -> Quality:
    """How a ranker's variants did on a day's rows, over all of them and within groups."""
    return Quality(
        day=day,
        rows=len(judged.labels_N),
        roc_auc=_means(judged, lambda scores: metrics_of(judged.labels_N, scores).roc_auc),
        group=judged.group,
        group_auc=_means(
            judged, lambda scores: ranked_within(judged.labels_N, scores, judged.group_strata).value
        ),
    )


def _views(run: Run, day: dt.date) -> dict[int, EditionView]:
    """What was served, by how many days older than usual."""
    lag = run.workspace.config.lifecycle.lag_days
    ages = sorted({0, *run.stale_days})
    return {age: run.workspace.as_of(day - dt.timedelta(days=lag + age)) for age in ages}


def _predicted(
    run: Run,
    inputs: DayInputs,
    views: Mapping[int, EditionView],
    fingerprint: str,
) -> dict[str, Scores]:
    """The scores by ranker, in the order of the variants."""
    checkpoints = Checkpoints.of(run.workspace)

    def job(plans: tuple[RankerPlan, ...], stale: int) -> RankerJob:
        consumer, spec = plans[0].consumer, plans[0].config
        task = run.workspace.schema.tasks[spec.task]
        today = inputs.encoded[task.log, inputs.day]
        return RankerJob(
            plans=plans,
            day=inputs.day,
            rows=today.rows,
            view=views[stale],
            before=checkpoints.before(consumer, inputs.day),
            folder=checkpoints.of_consumer(consumer, inputs.day),
            fingerprint=fingerprint,
            given=known_given(task, today.examples),
            users_share=run.workspace.config.evaluation.users_share,
        )

    asked = [
        (plans, stale)
        for plans in shares(run.rankers, run.workspace.config.workers)
        for stale in run.stale_days
    ]
    jobs = [job(plans, stale) for plans, stale in asked]
    found: dict[tuple[str, int], dict[str, Predicted]] = {}
    with run.console.progress(f"{inputs.day} judge", len(jobs)) as bar:
        answers = run.engine.map(predict_day, jobs)
        for (plans, stale), predicted in zip(asked, answers, strict=True):
            of_variants = found.setdefault((plans[0].consumer, stale), {})
            for plan, made in zip(plans, predicted, strict=True):
                of_variants[plan.variant.name] = made
            bar.advance()
    scores: dict[str, Scores] = {}
    for (consumer, stale), of_variants in found.items():
        spec = run.workspace.config.downstream[consumer]
        for variant, served in _fallen_back(spec, of_variants).items():
            scores.setdefault(consumer, {})[stale_name(variant, stale)] = served.scores
    return scores


def _fallen_back(
    spec: DownstreamConfig, of_variants: Mapping[str, Predicted]
) -> dict[str, Predicted]:
    """The variants as they are served: by `none` where they lack a vector, if that is asked for."""
    base = of_variants.get(NONE)
    if base is None or not spec.fall_back:
        return dict(of_variants)
    return {name: fall_back(made, base) for name, made in of_variants.items()}


def stale_name(variant: str, days: int) -> str:
    """What the predictions of a variant with vectors that many days older than usual are called."""
    return f"{variant} frozen {days} days" if days else variant


def rows_to_predict(task: Task, today: Examples, users_share: float = 1.0) -> np.ndarray:
    """The rows of the users that are judged; where the task is given another that is known today,
    those where that one is 1.
    """
    return judged_rows(today, known_given(task, today), users_share)


def known_given(task: Task, today: Examples) -> str | None:
    """The task that a task is given, where that one is known today."""
    given = None if task.given is None else task.given.name
    return given if given in today.labels else None


def _means(judged: Judged, metric: Callable[[np.ndarray], float]) -> dict[str, float | None]:
    """A metric by variant, the mean over its seeds; None where the rows do not define it."""
    found = {
        variant: float(np.mean([metric(scores) for scores in by_seed.values()]))
        for variant, by_seed in judged.scores.items()
    }
    return {variant: None if np.isnan(value) else value for variant, value in found.items()}
