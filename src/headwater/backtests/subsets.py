"""T2 in full: every subset of the embeddings."""

from __future__ import annotations

from headwater.backtests.backtest import Backtest, backtest, running
from headwater.config import SHUFFLED
from headwater.evaluation import Table, subsets
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.judged import expect_consumer
from headwater.studies.lifts import lifts_of


def subset_study(asked: Asked) -> Table:
    with running(asked) as run:
        return subset_table(run, asked.study.name, asked.consumer)


def subset_table(run: Run, name: str = "T2-subsets", consumer: str = "ctr") -> Table:
    """The lift of all 2^n subsets of the n embeddings (sixteen for two upstreams), and the shuffled
    control. Raises ExperimentError.
    """
    variants = (*subsets(run.workspace.schema.embedding_names()), SHUFFLED)
    expect_consumer(run.workspace, name, consumer)
    (found,) = backtest(
        run,
        name,
        consumer,
        {"subsets": Backtest(run.workspace.config.downstream[consumer], variants)},
    ).values()
    return lifts_of(run.workspace.config, name, consumer, found.judged)
