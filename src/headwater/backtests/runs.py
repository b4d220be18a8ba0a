"""What a backtest changes, and the run that follows from it: the factory's config with that change,
in a warehouse of its own, named after all that it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from headwater.blobs import Layout
from headwater.config import (
    NONE,
    AnyUpstreamConfig,
    DownstreamConfig,
    FactoryConfig,
    OnlineConfig,
    PolicyConfig,
    shaping,
)
from headwater.digests import canonical_json, digest_of
from headwater.engine import make_engine
from headwater.evaluation import Judged
from headwater.files import remove_folder
from headwater.pipeline.predict import stale_name
from headwater.pipeline.run import Run
from headwater.version import __version__
from headwater.workspace import Workspace

FOREVER_DAYS = 10_000
NOTHING_ONLINE = OnlineConfig(kind="none")


@dataclass(frozen=True)
class Backtest:
    """What is other than in the factory: the policy, the consumer's settings, its variants, and how
    many days older than usual the vectors are that it predicts with (once for each of
    `stale_days`). With `upstreams` it trains these anew, day by day, and its vectors are theirs.
    """

    spec: DownstreamConfig
    variants: tuple[str, ...]
    policy: PolicyConfig | None = None
    stale_days: tuple[int, ...] = (0,)
    upstreams: Mapping[str, AnyUpstreamConfig] | None = None

    @property
    def learnt(self) -> tuple[str, ...]:
        """The variants that are trained: those asked for, and what they fall back on."""
        beside = () if NONE in self.variants or not self.spec.fall_back else (NONE,)
        return (*self.variants, *beside)

    def asked(self, judged: Judged) -> Judged:
        """What was judged, without a variant that was only fallen back on."""
        beside = {stale_name(name, stale) for name in self.learnt for stale in self.stale_days}
        beside -= {stale_name(name, stale) for name in self.variants for stale in self.stale_days}
        kept = {name: found for name, found in judged.scores.items() if name not in beside}
        return replace(judged, scores=kept)


def run_of(run: Run, consumer: str, what: Backtest, beside: int = 1) -> Run:
    """The run of a backtest, one of `beside` that go on at once. It takes the daily vectors of
    `run`, unless it trains upstreams of its own; its gates only report.
    """
    workspace = run.workspace
    config = _config_of(workspace.config, consumer, what, beside)
    folder = workspace.layout.backtests / _name_of(workspace, consumer, what)
    return Run(
        workspace=Workspace(config, workspace.root, Layout(folder), origin=workspace.origin),
        engine=make_engine(config.engine, config.workers),
        lender=workspace if what.upstreams is None else None,
        published=False,
        stale_days=what.stale_days,
    )


def forget_others(workspace: Workspace) -> None:
    """Remove the backtests of other days or vectors, which are of no use any more; those of these
    days may yet serve another table.
    """
    state = _state(workspace)
    for other in workspace.layout.backtests_on_disk():
        if not other.name.endswith(state):
            remove_folder(other)


def _config_of(config: FactoryConfig, consumer: str, what: Backtest, beside: int) -> FactoryConfig:
    """The factory's config with what is other; nothing of it goes live, leaves or is served."""
    lifecycle = {
        "policy": what.policy or config.lifecycle.policy,
        "keep_days": FOREVER_DAYS,
        "promote": "manual",
    }
    changes: dict[str, object] = {
        "workers": config.workers if beside == 1 else min(1, config.workers),
        "downstream": {consumer: what.spec.model_copy(update={"variants": what.learnt})},
        "lanes": {},
        "lifecycle": config.lifecycle.model_copy(update=lifecycle),
        "gates": config.gates.model_copy(update={"settle_days": FOREVER_DAYS}),
        "store": config.store.model_copy(update={"online": NOTHING_ONLINE}),
    }
    if what.upstreams is not None:
        changes["upstreams"] = dict(what.upstreams)
        changes["retrieval"] = config.retrieval.model_copy(update={"upstream": None})
    return config.model_copy(update=changes)


def _name_of(workspace: Workspace, consumer: str, what: Backtest) -> str:
    """Of its folder: a digest of what is other, then one of what backtests are made from."""
    policy = what.policy or workspace.config.lifecycle.policy
    settings = canonical_json(
        [
            policy.model_dump(mode="json"),
            what.spec.model_dump(mode="json"),
            what.variants,
            what.stale_days,
            workspace.config.evaluation.users_share,
            None if what.upstreams is None else shaping(what.upstreams),
        ]
    )
    made = digest_of(settings, consumer, workspace.config.digest(), workspace.lane)
    return f"{made[:16]}-{_state(workspace)}"


def _state(workspace: Workspace) -> str:
    """Of all that backtests are made from: the days, their inputs, their vectors, who was erased,
    and the code.
    """
    entries = workspace.chain().days
    days = [str(entry.day) for entry in entries]
    last = entries[-1]
    erased = workspace.tombstones().digest
    made = digest_of(__version__, days, last.fingerprint, last.digest, last.aligned, erased)
    return made[:16]
