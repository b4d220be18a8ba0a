"""T2 in full: every subset of the embeddings."""

from __future__ import annotations

from headwater.config import SHUFFLED
from headwater.evaluation import Table, subsets
from headwater.pipeline import Factory
from headwater.rehearsing.rehearsals import Rehearsal, rehearse
from headwater.tables.lifts import lifts_of


def subset_table(factory: Factory, name: str = "T2-subsets", consumer: str = "ctr") -> Table:
    """The lift of all 2^n subsets of the n embeddings (sixteen for two upstreams), and the shuffled
    control. Raises ExperimentError.
    """
    arms = (*subsets(factory.embedding_names), SHUFFLED)
    if consumer not in factory.config.downstream:
        rehearse(factory, name, consumer, {})  # says what is missing
    ((_, judged),) = rehearse(
        factory, name, consumer, {"subsets": Rehearsal(factory.config.downstream[consumer], arms)}
    ).values()
    return lifts_of(factory.config, name, consumer, judged)
