"""Several seeds of the upstreams: the chance in training them, which no other interval covers.

Each further seed is a replicate: the upstreams are trained again over the factory's days under
seeds of their own, and then rankers, under seeds of their own too, on their vectors. So replicates
differ in everything that chance decides but the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headwater.backtests.backtest import Backtest, backtest, days_of, running
from headwater.backtests.changed_upstreams import Upstreams
from headwater.config import DownstreamConfig, FactoryConfig
from headwater.errors import ExperimentError
from headwater.evaluation import Judged, Table
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.lifts import lifts_of

USUAL_SEEDS = 3


def seeded_lift_study(asked: Asked) -> Table:
    """T2 with the chance in training the upstreams."""
    with running(asked) as run:
        return seeded_lift_table(run, asked.consumer, asked.upstream_seeds or USUAL_SEEDS)


def seeded_lift_table(run: Run, consumer: str = "ctr", seeds: int = USUAL_SEEDS) -> Table:
    """T2 over `seeds` seeds of the upstreams: the first is the factory's own, whose vectors are
    taken as they are; the others are trained again.

    Raises ExperimentError where there is no such consumer or no day, or for fewer than two seeds.
    """
    name = "T2-upstream-seeds"
    if seeds < 2:
        raise ExperimentError(
            f"{name}: one seed of the upstreams tells nothing of the chance in training them."
            f" Expected --upstream-seeds 2 or more, received {seeds}."
        )
    days_of(run, name, consumer)
    config = run.workspace.config
    spec = config.downstream[consumer]
    chosen = {"as declared": Backtest(spec, spec.variants)}
    for number in range(1, seeds):
        again = replicate(config, Backtest(spec, spec.variants), number)
        chosen[f"upstream seed {number + 1}"] = again
    backtested = backtest(run, name, consumer, chosen)
    judged = joined([one.judged for one in backtested.values()])
    return lifts_of(config, name, consumer, judged)


def replicate(config: FactoryConfig, what: Backtest, number: int) -> Backtest:
    """A backtest once more, under other seeds of its upstreams (the declared ones, unless it has
    its own) and of its rankers; number 0 is that backtest itself.
    """
    if number == 0:
        return what
    upstreams = reseeded(config, what.upstreams or config.upstreams, number)
    return replace(what, spec=_with_other_seeds(what.spec, number), upstreams=upstreams)


def reseeded(config: FactoryConfig, upstreams: Upstreams, number: int) -> Upstreams:
    """The same upstreams under the seed of a replicate: `number` more than their own."""
    own = {
        name: config.seed if spec.seed is None else spec.seed for name, spec in upstreams.items()
    }
    return {
        name: spec.model_copy(update={"seed": own[name] + number})
        for name, spec in upstreams.items()
    }


def _with_other_seeds(spec: DownstreamConfig, number: int) -> DownstreamConfig:
    """A ranker of as many seeds, none of which another replicate has."""
    step = max(spec.seeds) - min(spec.seeds) + 1
    seeds = tuple(seed + number * step for seed in spec.seeds)
    return spec.model_copy(update={"seeds": seeds})


def joined(replicates: Sequence[Judged]) -> Judged:
    """One Judged of several replicates on the same rows, which knows whose seed each is."""
    scores: dict[str, dict[int, np.ndarray]] = {}
    replicate_of: dict[int, int] = {}
    for number, part in enumerate(replicates):
        for variant, by_seed in part.scores.items():
            scores.setdefault(variant, {}).update(by_seed)
            replicate_of |= dict.fromkeys(by_seed, number)
    return replace(replicates[0], scores=scores, replicate_of=replicate_of)
