"""What makes an upstream model, and one day of its work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from headwater.config import HOW_NOT_WHAT, UpstreamConfig
from headwater.digests import digest_of
from headwater.embeddings import Space
from headwater.events import BlockSpec, Examples
from headwater.events.examples import Catalog
from headwater.models.upstream.derm import Derm, Past, Sizes
from headwater.nn import StreamingFrequency

FORMAT = 3  # part of the signature; raised when the network's layout changes


def sizes_of(config: UpstreamConfig) -> Sizes:
    """The size dial's values, each replaced by what the config sets itself."""
    return Sizes(**config.derived())


@dataclass(frozen=True)
class UpstreamPlan:
    """All that makes an upstream model, and so its space, but no data. `specs` are its entities'
    blocks, `contexts` its logs'; `histories` are those of each entity by log, `tasks` those of each
    log; `given` names the task that a task is given. `meaning` is a digest of what the numbers in
    all of these stand for: features, histories and labels as declared.
    """

    name: str
    config: UpstreamConfig
    specs: Mapping[str, BlockSpec]
    contexts: Mapping[str, BlockSpec]
    histories: Mapping[str, Mapping[str, Past]]
    tasks: Mapping[str, tuple[str, ...]]
    given: Mapping[str, str]
    seed: int
    meaning: str = ""

    @property
    def entities(self) -> tuple[str, ...]:
        return tuple(self.specs)

    @property
    def logs(self) -> tuple[str, ...]:
        return tuple(self.tasks)

    @property
    def signature(self) -> str:
        specs = [
            [(name, asdict(spec)) for name, spec in part.items()]
            for part in (self.specs, self.contexts)
        ]
        settings = self.config.model_dump(mode="json", exclude={*HOW_NOT_WHAT, "fast"})
        pasts = {
            entity: {log: list(past) for log, past in of_logs.items()}
            for entity, of_logs in self.histories.items()
        }
        return digest_of(
            FORMAT,
            self.name,
            settings,
            specs,
            self.entities,
            pasts,
            dict(self.tasks),
            self.seed,
            self.meaning,
        )

    def space(self, first_day: dt.date) -> Space:
        """A space is one training run: these settings, begun on that day."""
        return Space(
            self.name, digest_of(self.signature, first_day), sizes_of(self.config).width, first_day
        )


class Trainee(torch.nn.Module):
    """The network and, of each log, the estimate of how often items come up in its batches; saved
    together.
    """

    def __init__(self, plan: UpstreamPlan) -> None:
        super().__init__()
        sizes = sizes_of(plan.config)
        self.derm = Derm(plan.specs, plan.contexts, plan.histories, plan.tasks, plan.config, sizes)
        self.frequencies = torch.nn.ModuleList(
            StreamingFrequency(sizes.id_buckets + 1) for _ in plan.logs
        )
        self.logs = plan.logs

    def frequency_of(self, log: str) -> StreamingFrequency:
        return self.frequencies[self.logs.index(log)]  # type: ignore[return-value]

    @property
    def steps(self) -> int:
        """Batches learnt since the space began."""
        return sum(int(frequency.step) for frequency in self.frequencies)  # type: ignore[misc, arg-type]


@dataclass(frozen=True)
class UpstreamTask:
    """One day's work of one upstream, for an engine. `before`: yesterday's checkpoint, or None to
    begin the space.

    `learn` are rows whose labels are known since today, `show` today's rows of each log, `catalogs`
    everyone listed, of the entities that get vectors of their content.
    """

    plan: UpstreamPlan
    day: dt.date
    learn: tuple[Examples, ...]
    show: tuple[Examples, ...]
    before: Path | None
    folder: Path
    fingerprint: str
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
