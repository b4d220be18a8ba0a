"""`headwater lift`: which offline table is made where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.config import FactoryConfig, load_config, warehouse_of
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
    """The table asked for. One that took training is kept in the warehouse, for the report.

    Raises ExperimentError for options that do not fit, and LeakError where what was judged may
    have seen its labels.
    """
    _check(options)
    if options.table in FROM_JUDGEMENTS:
        return load_table(path, options.table, options.consumer)
    config = load_config(path)
    root = path.resolve().parent
    warehouse = warehouse_of(config, root)
    state = state_of(warehouse, config)
    if options.table == "T8":
        _audit_vectors(config, root, warehouse)
        return keep_table(warehouse, retrieval_table(config, root, console=console), state)
    consumer = options.consumer or ("cvr" if options.table == "T3-subsets" else "ctr")
    backtest = _backtest(options, consumer)
    from headwater import backtests
    from headwater.pipeline.day import Factory

    live = read_catalog(warehouse).live
    factory = Factory.load(path, console, live.lane if live else MAIN)
    try:
        backtests.days_of(factory, options.table, consumer)
        # a backtest reads the same features and histories as the days did
        audited(config, root, consumer, pooled(config, warehouse, consumer))
        return keep_table(warehouse, backtest(factory), state)
    finally:
        factory.close()


def _check(options: LiftOptions) -> None:
    """Raises ExperimentError for an option that is about another table."""
    priced = options.core_hour_price is not None or options.rows_a_day is not None
    if options.table != "T4" and priced:
        raise ExperimentError(
            "--core-hour-price and --rows-a-day are about T4;"
            f" received the table {options.table!r}."
        )
    if options.table == "T8" and options.consumer is not None:
        raise ExperimentError(
            "--consumer: T8 is about no consumer;"
            " `retrieval` in factory.yaml says whose vectors and which task."
        )


def _audit_vectors(config: FactoryConfig, root: Path, warehouse: Path) -> None:
    """Raises LeakError where a ranker of the log that retrieval reads may have seen its labels:
    what misleads a ranker misleads the vectors.
    """
    log = config.tasks[config.retrieval_task()].log
    for name, spec in config.downstream.items():
        if config.tasks[spec.task].log == log:
            audited(config, root, name, pooled(config, warehouse, name))


def _backtest(options: LiftOptions, consumer: str) -> Callable[[Factory], Table]:
    """How a table that takes training is made. Raises ExperimentError for one that is not there."""
    from headwater import backtests

    price = options.core_hour_price
    rows_a_day = options.rows_a_day
    by_table: dict[str, Callable[[Factory], Table]] = {
        "T1": lambda made: backtests.policy_table(made, consumer=consumer),
        "T2-subsets": lambda made: backtests.subset_table(made, "T2-subsets", consumer),
        "T3-subsets": lambda made: backtests.subset_table(made, "T3-subsets", consumer),
        "T4": lambda made: backtests.projection_table(made, consumer, price, rows_a_day),
        "T7": lambda made: backtests.ablation_table(made, consumer),
        "contribution": lambda made: backtests.contribution_table(made, consumer),
        "staleness": lambda made: backtests.staleness_table(made, consumer),
    }
    if options.table not in by_table:
        raise ExperimentError(
            f"no table named {options.table!r}; there are:"
            f" {', '.join(sorted({*by_table, *FROM_JUDGEMENTS, 'T8'}))}."
        )
    return by_table[options.table]
