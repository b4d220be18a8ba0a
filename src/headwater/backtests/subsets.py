"""T2 in full: every subset of the embeddings."""

from __future__ import annotations

from headwater.backtests.backtest import Backtest, backtest
from headwater.config import SHUFFLED
from headwater.evaluation import Table, subsets
from headwater.pipeline.day import Factory
from headwater.studies.lifts import lifts_of


def subset_table(factory: Factory, name: str = "T2-subsets", consumer: str = "ctr") -> Table:
    """The lift of all 2^n subsets of the n embeddings (sixteen for two upstreams), and the shuffled
    control. Raises ExperimentError.
    """
    variants = (*subsets(factory.embedding_names), SHUFFLED)
    if consumer not in factory.config.downstream:
        backtest(factory, name, consumer, {})  # says what is missing
    ((_, judged),) = backtest(
        factory,
        name,
        consumer,
        {"subsets": Backtest(factory.config.downstream[consumer], variants)},
    ).values()
    return lifts_of(factory.config, name, consumer, judged)
