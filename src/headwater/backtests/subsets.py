"""T2 and T3 in full: every subset of the embeddings."""

from __future__ import annotations

from headwater.backtests.backtest import Backtest, backtest, running
from headwater.config import SHUFFLED
from headwater.evaluation import Table, subsets
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.judged import expect_consumer
from headwater.studies.lifts import lifts_of


def subset_study(asked: Asked) -> Table:
    """T2 and T3 in full, from a backtest of every subset."""
    with running(asked) as run:
        return subset_table(run, asked.study.name, asked.consumer)


def subset_table(run: Run, name: str = "T2-subsets", consumer: str = "ctr") -> Table:
    """The lift of all 2^n subsets of the n embeddings (sixteen for two upstreams), and the shuffled
    control.

    Raises ExperimentError where there is no such consumer or no day.
    """
    config = run.workspace.config
    variants = (*subsets(run.workspace.schema.embedding_names()), SHUFFLED)
    expect_consumer(run.workspace, name, consumer)
    chosen = {"subsets": Backtest(config.downstream[consumer], variants)}
    backtested = backtest(run, name, consumer, chosen)
    return lifts_of(config, name, consumer, backtested["subsets"].judged)
