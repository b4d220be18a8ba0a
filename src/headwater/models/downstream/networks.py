"""The rankers' networks.

Shape suffixes: B rows, T tokens, E feature width, F flat width, X experts, H hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headwater.config import DownstreamConfig
from headwater.events import BlockSpec
from headwater.models.downstream.reading import EmbeddingReader, EmbeddingTensors
from headwater.models.training import feature_tokens
from headwater.nn import (
    CrossNet,
    Dhen,
    FeatureTensors,
    HistoryTensors,
    LayerDesign,
    SeededDropout,
    SequenceEncoder,
)

BLOCK_NAMES = ("user", "item", "context", "counters")


class SequenceSpec(NamedTuple):
    """The user's history that a ranker reads.

    `of` is the entity whose ids it holds, `actions` how many actions are told of each event.
    """

    of: str
    actions: int


class Ranker(nn.Module, ABC):
    """Features, the user's history and a variant's embeddings -> logits [B, tasks].

    Features are those of user, item and context; the consumer's own task comes first. A subclass
    says how they interact.
    """

    def __init__(
        self,
        specs: Mapping[str, BlockSpec],
        config: DownstreamConfig,
        embeddings: Sequence[str],
        widths: Mapping[str, int],
        sequence: SequenceSpec | None,
    ) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        for name in BLOCK_NAMES:
            spec = specs[name]
            if name == "counters" and config.counters == "none":
                spec = BlockSpec((), (), 0, ())
            ids = [config.id_buckets + 1] if name in ("user", "item") else []
            self.features[name] = feature_tokens(spec, config.feature_width, ids)
        self.reader = EmbeddingReader(embeddings, widths, config.projection) if embeddings else None
        self.of = None if sequence is None else sequence.of
        self.encoder = None if sequence is None else _encoder(sequence, config)
        self.tokens = sum(block.tokens for block in self.features.values())  # type: ignore[misc]
        self.tokens += 0 if self.encoder is None else SequenceEncoder.TOKENS
        self.embedding_width = 0 if self.reader is None else self.reader.width
        self.tasks = 1 + len(config.also)
        self.wire(config)

    @abstractmethod
    def wire(self, config: DownstreamConfig) -> None:
        """Build the layers above the inputs."""

    @abstractmethod
    def interact(self, tokens_BTE: Tensor, embeddings_BF: Tensor | None) -> Tensor:
        """Feature tokens and what was read of the embeddings -> logits [B, tasks]."""

    def forward(
        self,
        blocks: Mapping[str, FeatureTensors],
        read: Mapping[str, EmbeddingTensors],
        history: HistoryTensors | None = None,
    ) -> Tensor:
        parts = {name: self.features[name](blocks[name]) for name in BLOCK_NAMES}
        tokens = [parts[name] for name in BLOCK_NAMES]
        if self.encoder is not None and self.of is not None and history is not None:
            # an id is the first of its entity's tokens, and the ids of a history go through the
            # same table
            tokens.append(self.encoder(history, self.features[self.of].table, parts["item"][:, 0]))
        embeddings_BF = None if self.reader is None else self.reader(read)
        return self.interact(torch.cat(tokens, dim=1), embeddings_BF)


def _encoder(sequence: SequenceSpec, config: DownstreamConfig) -> SequenceEncoder:
    return SequenceEncoder(
        sequence.actions,
        config.feature_width,
        config.sequence.length,
        config.sequence.layers,
        config.sequence.heads,
    )


class MoeDcn(Ranker):
    """DCNv2 crossing beside a multi-gate mixture of experts (Ma et al. 2018).

    y_k = w_k . [cross(x), sum_i softmax(G_k x)_i expert_i(x)] of the task k.
    """

    EXPERTS = 2

    def wire(self, config: DownstreamConfig) -> None:
        flat = self.tokens * config.feature_width + self.embedding_width
        wide = 2 * config.hidden
        self.cross = CrossNet(flat, layers=2, rank=32)
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(flat, wide),
                nn.ReLU(),
                SeededDropout(config.dropout),
                nn.Linear(wide, config.hidden),
                nn.ReLU(),
            )
            for _ in range(self.EXPERTS)
        )
        self.gates = nn.ModuleList(nn.Linear(flat, self.EXPERTS) for _ in range(self.tasks))
        self.heads = nn.ModuleList(nn.Linear(flat + config.hidden, 1) for _ in range(self.tasks))

    def interact(self, tokens_BTE: Tensor, embeddings_BF: Tensor | None) -> Tensor:
        x_BF = tokens_BTE.flatten(1)
        if embeddings_BF is not None:
            x_BF = torch.cat([x_BF, embeddings_BF], dim=1)
        crossed_BF = self.cross(x_BF)
        experts_BXH = torch.stack([expert(x_BF) for expert in self.experts], dim=1)
        logits = []
        for gate, head in zip(self.gates, self.heads, strict=True):
            mixed_BH = (gate(x_BF).softmax(1).unsqueeze(2) * experts_BXH).sum(1)
            logits.append(head(torch.cat([crossed_BF, mixed_BH], dim=1)))
        return torch.cat(logits, dim=1)


class DhenRanker(Ranker):
    """DHEN over feature tokens and the embeddings as two tokens more, then linear heads."""

    TOKENS_OUT = 4

    def wire(self, config: DownstreamConfig) -> None:
        width = config.feature_width
        self.join = nn.Linear(self.embedding_width, 2 * width) if self.embedding_width else None
        tokens = self.tokens + (2 if self.join is not None else 0)
        design = LayerDesign(width, config.hidden, dropout=config.dropout)
        self.dhen = Dhen(tokens, self.TOKENS_OUT, design)
        self.head = nn.Linear(self.TOKENS_OUT * width + self.embedding_width, self.tasks)

    def interact(self, tokens_BTE: Tensor, embeddings_BF: Tensor | None) -> Tensor:
        if self.join is not None and embeddings_BF is not None:
            joined_BTE = self.join(embeddings_BF).unflatten(1, (2, -1))
            tokens_BTE = torch.cat([tokens_BTE, joined_BTE], dim=1)
        flat_BF = self.dhen(tokens_BTE).flatten(1)
        if embeddings_BF is not None:
            flat_BF = torch.cat([flat_BF, embeddings_BF], dim=1)
        out: Tensor = self.head(flat_BF)
        return out


RANKERS: dict[str, type[Ranker]] = {"moe_dcn": MoeDcn, "dhen": DhenRanker}
