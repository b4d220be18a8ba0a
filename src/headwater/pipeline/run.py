"""Run: a workspace with what its days need besides: where work runs, what people see of it, where
the fresh vectors come from.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from headwater.blobs import Layout
from headwater.config import FactoryConfig, UpstreamConfig
from headwater.console import SILENT, Console
from headwater.embeddings import make_policy
from headwater.engine import Engine, make_engine
from headwater.index import INDEXES
from headwater.lifecycle.serve import online_maker
from headwater.models.downstream import RANKERS, RankerPlan
from headwater.models.upstream import UpstreamPlan, plans_of, widths_of
from headwater.nn import BLOCKS, HEADS
from headwater.pipeline.inputs import DayReader
from headwater.pipeline.rankers import ranker_plans
from headwater.pipeline.tracking import TRACKERS
from headwater.pipeline.upstreams import FromLane, Trained, VectorSource
from headwater.plugins import resolve
from headwater.workspace import Workspace


@dataclass(frozen=True)
class Run:
    """`lender` is the workspace whose daily vectors are taken instead of training upstreams (None:
    they are trained). What nobody reads (a backtest) is not `published`: its gates only write down
    what they see, and nothing is tracked. Rankers are judged once for each of `stale_days`, with
    vectors that many days older than they would be served.
    """

    workspace: Workspace
    engine: Engine
    console: Console = field(default_factory=lambda: SILENT)
    lender: Workspace | None = None
    published: bool = True
    stale_days: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, workspace: Workspace, console: Console = SILENT) -> Run:
        """A factory's own days. Raises ConfigError for what is named and not there, before a day is
        trained in vain.
        """
        expect_parts(workspace.config, workspace.layout)
        config = workspace.config
        return cls(workspace, make_engine(config.engine, config.workers), console)

    @cached_property
    def reader(self) -> DayReader:
        return DayReader(self.workspace, self.console.log)

    @cached_property
    def plans(self) -> Mapping[str, UpstreamPlan]:
        """What every upstream makes."""
        return plans_of(self.workspace.config, self.workspace.schema)

    @cached_property
    def rankers(self) -> list[RankerPlan]:
        """Every variant of every ranker."""
        return ranker_plans(self.workspace.config, self.workspace.schema, widths_of(self.plans))

    @cached_property
    def vectors(self) -> VectorSource:
        if self.lender is not None:
            return FromLane(self.lender)
        return Trained(self.plans, self.workspace, self.reader, self.engine, self.console)

    def close(self) -> None:
        self.engine.close()


def expect_parts(config: FactoryConfig, layout: Layout) -> None:
    """Raise ConfigError where an index, an online store, a policy, a tracker, a ranker, a head or a
    block is named that is not there, or does not take its settings.
    """
    make_policy(config.lifecycle.policy)
    online_maker(config.store.online, layout)
    resolve("headwater.index", INDEXES, config.index.kind)
    if config.tracking is not None:
        resolve("headwater.tracker", TRACKERS, config.tracking.kind)
    for consumer in config.downstream.values():
        resolve("headwater.ranker", RANKERS, consumer.model)
    for upstream in config.upstreams.values():
        if isinstance(upstream, UpstreamConfig):
            resolve("headwater.head", HEADS, upstream.heads)
            for block in itertools.chain(*upstream.dhen.layers):
                resolve("headwater.block", BLOCKS, block)
