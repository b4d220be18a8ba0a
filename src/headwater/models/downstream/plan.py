"""What makes one variant of a consumer, and one day's work of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from headwater.config import DownstreamConfig
from headwater.digests import digest_of
from headwater.embeddings import View
from headwater.evaluation import Variant
from headwater.events import BlockSpec, Examples
from headwater.models.downstream.networks import RANKERS, Ranker, SequenceSpec
from headwater.models.training import Optimizers, begin, seeded
from headwater.plugins import resolve


@dataclass(frozen=True)
class RankerPlan:
    """All that makes one variant of a consumer, but no data.

    `widths` are those of every embedding there is.
    """

    consumer: str
    variant: Variant
    config: DownstreamConfig
    specs: Mapping[str, BlockSpec]
    widths: Mapping[str, int]
    seed: int
    sequence: SequenceSpec | None = None

    @property
    def tasks(self) -> dict[str, float]:
        """The tasks that it learns, and their weights; its own first."""
        return {self.config.task: 1.0, **self.config.also}

    def reads(self, rows: Examples) -> Examples:
        """The rows with no more of their histories than the ranker reads.

        They are lighter to send to another process.
        """
        if self.sequence is None:
            return rows.with_histories({})
        return rows.with_histories({"user": self.config.sequence.length})

    @property
    def signature(self) -> str:
        """Equal for plans whose weights may go on from each other's."""
        config = self.config.model_dump(mode="json", exclude={"variants", "seeds"})
        specs = {name: asdict(spec) for name, spec in self.specs.items()}
        return digest_of(
            self.consumer,
            asdict(self.variant),
            config,
            specs,
            dict(self.widths),
            self.seed,
            self.sequence,
        )

    def build(self, seed: int) -> tuple[Ranker, Optimizers]:
        """A ranker and its optimisers, not trained yet."""
        begin(seeded(self.seed, seed))
        ranker = resolve("headwater.ranker", RANKERS, self.config.model)(
            self.specs, self.config, self.variant.embeddings, self.widths, self.sequence
        )
        optimizers = Optimizers(
            ranker,
            self.config.learning_rate,
            self.config.id_learning_rate,
            self.config.weight_decay,
        )
        return ranker, optimizers


@dataclass(frozen=True)
class VariantTask:
    """One day's work of one variant (all its seeds), for an engine.

    `before` holds its last checkpoints; None at the start.
    """

    plan: RankerPlan
    day: dt.date
    rows: Examples
    view: View
    before: Path | None
    folder: Path
    fingerprint: str
