"""`headwater lift`: which table is made where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.config import load_config, warehouse_of
from headwater.console import Console
from headwater.errors import ExperimentError
from headwater.evaluation import Table
from headwater.store import MAIN, read_catalog
from headwater.studies import FROM_JUDGEMENTS, audited, keep_table, load_table, pooled, state_of
from headwater.studies.retrieval import retrieval_table

if TYPE_CHECKING:
    from headwater.pipeline.day import Factory


@dataclass(frozen=True)
class LiftOptions:
    """What was asked for. `consumer`: None for the table's usual one."""

    table: str
    consumer: str | None = None
    core_hour_price: float | None = None
    rows_a_day: float | None = None


def make_table(path: Path, options: LiftOptions, console: Console) -> Table:
    """The table asked for; one that took a backtest is kept in the warehouse, for the report.
    Raises ExperimentError, and LeakError where what was judged may have seen its labels.
    """
    if options.table != "T4" and (
        options.core_hour_price is not None or options.rows_a_day is not None
    ):
        raise ExperimentError(
            "--core-hour-price and --rows-a-day are about T4; received the table"
            f" {options.table!r}."
        )
    if options.table == "T8" and options.consumer is not None:
        raise ExperimentError(
            "--consumer: T8 is about no consumer; `retrieval` in factory.yaml says whose vectors"
            " and which task."
        )
    if options.table in FROM_JUDGEMENTS:
        return load_table(path, options.table, options.consumer)
    config, root = load_config(path), path.resolve().parent
    warehouse = warehouse_of(config, root)
    state = state_of(warehouse, config)
    if options.table == "T8":
        log = config.tasks[config.retrieval_task()].log
        for name in (
            name for name, spec in config.downstream.items() if config.tasks[spec.task].log == log
        ):
            audited(
                config, root, name, pooled(config, warehouse, name)
            )  # what misleads a ranker misleads the vectors
        return keep_table(warehouse, retrieval_table(config, root, console=console), state)
    from headwater import backtests

    consumer = options.consumer or ("cvr" if options.table == "T3-subsets" else "ctr")
    backtested: dict[str, Callable[[Factory], Table]] = {
        "T1": lambda made: backtests.policy_table(made, consumer=consumer),
        "T2-subsets": lambda made: backtests.subset_table(made, "T2-subsets", consumer),
        "T3-subsets": lambda made: backtests.subset_table(made, "T3-subsets", consumer),
        "T4": lambda made: backtests.projection_table(
            made, consumer, options.core_hour_price, options.rows_a_day
        ),
        "T7": lambda made: backtests.ablation_table(made, consumer),
        "contribution": lambda made: backtests.contribution_table(made, consumer),
        "staleness": lambda made: backtests.staleness_table(made, consumer),
    }
    if options.table not in backtested:
        raise ExperimentError(
            f"no table named {options.table!r}; there are:"
            f" {', '.join(sorted({*backtested, *FROM_JUDGEMENTS, 'T8'}))}."
        )
    from headwater.pipeline.day import Factory

    live = read_catalog(warehouse).live
    factory = Factory.load(path, console, live.lane if live else MAIN)
    try:
        backtests.days_of(factory, options.table, consumer)
        # a backtest reads the same features and histories as the days did
        audited(config, root, consumer, pooled(config, warehouse, consumer))
        return keep_table(warehouse, backtested[options.table](factory), state)
    finally:
        factory.close()
