"""Every study there is, in the order in which the report shows them, and how one is made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headwater.backtests import declared as backtests
from headwater.console import SILENT, Console
from headwater.errors import ExperimentError, LogError
from headwater.studies import Asked, Study, declared, find_study

if TYPE_CHECKING:  # what tables are made with is imported where one is made
    from headwater.evaluation import Table
    from headwater.workspace import Workspace

STUDIES: tuple[Study, ...] = (
    declared.T2,
    declared.T3,
    backtests.T1,
    backtests.T2_SUBSETS,
    backtests.T3_SUBSETS,
    backtests.T2_UPSTREAM_SEEDS,
    backtests.T4,
    backtests.T7,
    declared.T8,
    backtests.CONTRIBUTION,
    backtests.STALENESS,
    declared.SLICES,
    declared.CALIBRATION,
)


def ask(
    workspace: Workspace, name: str, consumer: str | None = None, console: Console = SILENT
) -> Asked:
    """A question for the table `name`, about its usual ranker or another. Raises ExperimentError
    where there is no such table or ranker.
    """
    from headwater.studies.judged import expect_consumer

    study = find_study(STUDIES, name)
    live = workspace.of_live_lane()
    if study.consumer is None:
        if consumer is not None:
            raise ExperimentError(
                f"--consumer: {name} is about no consumer; `retrieval` in factory.yaml says whose"
                " vectors and which task."
            )
        return Asked(live, study, "", console)
    chosen = consumer or study.consumer
    expect_consumer(live, name, chosen)
    return Asked(live, study, chosen, console)


def table_of(asked: Asked) -> Table:
    """The table that is asked for; one that takes long is kept in the warehouse, for the report.

    Raises ExperimentError, and LeakError where what was judged may have seen its labels.
    """
    from headwater.studies.judged import audited, pooled
    from headwater.studies.saved import State, keep_table

    study, workspace = asked.study, asked.workspace
    priced = (asked.core_hour_price, asked.rows_a_day) != (None, None)
    if priced and not study.priced:
        takes = ", ".join(study.name for study in STUDIES if study.priced)
        raise ExperimentError(
            f"--core-hour-price and --rows-a-day are about {takes}; received the table"
            f" {study.name!r}."
        )
    if not study.kept:
        return study.table(asked)
    state = State.of(workspace)
    for consumer in _to_audit(asked):
        audited(workspace, consumer, pooled(workspace, consumer))
    return keep_table(workspace, study.table(asked), state)


def _to_audit(asked: Asked) -> list[str]:
    """The rankers whose judged rows are looked at for leaks before a table is made: a backtest
    reads the same features and histories as the days did, and what misleads a ranker misleads the
    vectors.
    """
    config = asked.workspace.config
    if asked.consumer:
        return [asked.consumer]
    log = config.tasks[config.retrieval_task()].log
    return [name for name, spec in config.downstream.items() if config.tasks[spec.task].log == log]


def report_tables(workspace: Workspace, console: Console = SILENT) -> list[Table]:
    """What the report shows, in the order of the studies: what judged predictions give of every
    ranker, and the tables that are kept. What cannot be made is told on the console.
    """
    from headwater.studies.saved import kept_tables

    live = workspace.of_live_lane()
    kept = kept_tables(live)
    found: list[Table] = []
    for study in STUDIES:
        if study.kept:
            found += [table for table in kept if table.name == study.name]
            continue
        for consumer in _rankers(live, study):
            try:
                found.append(study.table(Asked(live, study, consumer, console)))
            except (ExperimentError, LogError) as error:
                console.log(f"{study.name} of {consumer} is left out: {error}")
    return found


def _rankers(workspace: Workspace, study: Study) -> list[str]:
    """The rankers of which the report shows a study."""
    config = workspace.config
    return [
        name
        for name, spec in config.downstream.items()
        if study.is_about(given=config.tasks[spec.task].given is not None)
    ]


def with_upstream_seeds(asked: Asked, seeds: int | None, seeded: tuple[str, ...] = ()) -> Asked:
    """The same question with the upstreams trained under several seeds, in `seeded` ablations or
    all. Raises ExperimentError for a table that has no such form.
    """
    if seeds is None and not seeded:
        return asked
    study = asked.study
    if not study.reseeded:
        takes = ", ".join(one.name for one in STUDIES if one.reseeded)
        raise ExperimentError(
            f"--upstream-seeds and --seeded are about {takes}; received the table {study.name!r}."
        )
    if seeded and study.name != backtests.T7.name:
        raise ExperimentError(
            f"--seeded names ablations of {backtests.T7.name}; received the table {study.name!r}."
        )
    if seeds is not None and seeds > 1:
        study = find_study(STUDIES, study.reseeded)
    return replace(asked, study=study, upstream_seeds=seeds, seeded=seeded)


def with_prices(asked: Asked, core_hour_price: float | None, rows_a_day: float | None) -> Asked:
    """The same question with what T4 turns into money."""
    return replace(asked, core_hour_price=core_hour_price, rows_a_day=rows_a_day)
