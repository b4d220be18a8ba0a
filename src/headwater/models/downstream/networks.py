"""The rankers' networks. Shape suffixes: B rows, E feature width, F flat width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from headwater.config import DownstreamConfig
from headwater.events import BlockSpec
from headwater.models.downstream.reading import EmbeddingReader, EmbeddingTensors
from headwater.nn import CrossNet, Dhen, FeatureTensors, FeatureTokens

BLOCK_NAMES = ("user", "item", "context", "counters")


class Ranker(nn.Module, ABC):
    """Features of user, item and context, and an arm's embeddings -> one logit a row. A subclass says how they interact."""

    def __init__(self, specs: Mapping[str, BlockSpec], config: DownstreamConfig, embeddings: Sequence[str], widths: Mapping[str, int]) -> None:
        super().__init__()
        self.features = nn.ModuleDict()
        for name in BLOCK_NAMES:
            spec = specs[name]
            ids = [config.id_buckets + 1] if name in ("user", "item") else []
            spec = spec if name != "counters" or config.counters != "none" else BlockSpec((), (), 0, ())
            self.features[name] = FeatureTokens([*ids, *spec.categorical], spec.multi, spec.numeric, spec.vectors, config.feature_width)
        self.reader = EmbeddingReader(embeddings, widths, config.projection) if embeddings else None
        self.tokens = sum(block.tokens for block in self.features.values())  # type: ignore[misc]
        self.embedding_width = 0 if self.reader is None else self.reader.width
        self.wire(config)

    @abstractmethod
    def wire(self, config: DownstreamConfig) -> None:
        """Build the layers above the inputs."""

    @abstractmethod
    def interact(self, tokens_BTE: Tensor, embeddings_BF: Tensor | None) -> Tensor:
        """Feature tokens and what was read of the embeddings -> logits [B]."""

    def forward(self, blocks: Mapping[str, FeatureTensors], read: Mapping[str, EmbeddingTensors]) -> Tensor:
        tokens = torch.cat([self.features[name](blocks[name]) for name in BLOCK_NAMES], dim=1)
        return self.interact(tokens, None if self.reader is None else self.reader(read))


class MoeDcn(Ranker):
    """DCNv2 crossing beside a mixture of experts: y = w . [cross(x), sum_i softmax(G x)_i expert_i(x)]."""

    EXPERTS = 2

    def wire(self, config: DownstreamConfig) -> None:
        flat = self.tokens * config.feature_width + self.embedding_width
        wide = 2 * config.hidden
        self.cross = CrossNet(flat, layers=2, rank=32)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(flat, wide), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(wide, config.hidden), nn.ReLU())
            for _ in range(self.EXPERTS)
        )  # fmt: skip
        self.gate = nn.Linear(flat, self.EXPERTS)
        self.head = nn.Linear(flat + config.hidden, 1)

    def interact(self, tokens_BTE: Tensor, embeddings_BF: Tensor | None) -> Tensor:
        x_BF = tokens_BTE.flatten(1)
        if embeddings_BF is not None:
            x_BF = torch.cat([x_BF, embeddings_BF], dim=1)
        shares = self.gate(x_BF).softmax(1)
        mixed = sum(shares[:, i : i + 1] * expert(x_BF) for i, expert in enumerate(self.experts))
        out: Tensor = self.head(torch.cat([self.cross(x_BF), mixed], dim=1)).squeeze(1)
        return out


class DhenRanker(Ranker):
    """DHEN over feature tokens and the embeddings as one token more, then a linear head."""

    TOKENS_OUT = 4

    def wire(self, config: DownstreamConfig) -> None:
        width = config.feature_width
        self.join = nn.Linear(self.embedding_width, 2 * width) if self.embedding_width else None
        tokens = self.tokens + (2 if self.join is not None else 0)
        self.dhen = Dhen(tokens, self.TOKENS_OUT, width, config.hidden, dropout=config.dropout)
        self.head = nn.Linear(self.TOKENS_OUT * width + self.embedding_width, 1)

    def interact(self, tokens_BTE: Tensor, embeddings_BF: Tensor | None) -> Tensor:
        if self.join is not None and embeddings_BF is not None:
            tokens_BTE = torch.cat([tokens_BTE, self.join(embeddings_BF).unflatten(1, (2, -1))], dim=1)
        flat = self.dhen(tokens_BTE).flatten(1)
        out: Tensor = self.head(flat if embeddings_BF is None else torch.cat([flat, embeddings_BF], dim=1)).squeeze(1)
        return out


RANKERS: dict[str, type[Ranker]] = {"moe_dcn": MoeDcn, "dhen": DhenRanker}
