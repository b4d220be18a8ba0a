"""DERM's network: two towers that never see context, and the overtower that sees both (arXiv 2509.04337).

Shape suffixes: B rows, T tokens, E token width, D = tokens * token width, the width of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headwater.events import BlockSpec
from headwater.nn import Dhen, FeatureTensors, FeatureTokens, HistoryTensors, HistoryTokens, RowTable


@dataclass(frozen=True)
class Sizes:
    """Widths of a DERM model. `tokens * token_width` is the width of its vectors."""

    token_width: int
    tokens: int
    hidden: int
    batch_rows: int
    id_buckets: int

    @property
    def width(self) -> int:
        return self.tokens * self.token_width


class TowerTensors(NamedTuple):
    """What a tower reads: an entity's id slots, its features, and its history, if it has one."""

    slots_B: Tensor
    features: FeatureTensors
    history: HistoryTensors | None

    def rows(self, index: Tensor) -> TowerTensors:
        return TowerTensors(self.slots_B[index], self.features.rows(index), None if self.history is None else self.history.rows(index))


class Tower(nn.Module):
    """Id, features and history -> tokens -> DHEN -> flatten -> L2: an entity's vector, [B, D]."""

    def __init__(self, spec: BlockSpec, ids: bool, actions: int | None, sizes: Sizes, dropout: float) -> None:
        super().__init__()
        self.ids = ids
        self.features = FeatureTokens(spec.categorical, spec.multi, spec.numeric, spec.vectors, sizes.token_width)
        self.history = HistoryTokens(actions, sizes.token_width) if actions is not None else None
        tokens = int(ids) + self.features.tokens + (self.history.tokens if self.history is not None else 0)
        self.dhen = Dhen(max(1, tokens), sizes.tokens, sizes.token_width, sizes.hidden, dropout=dropout)

    def forward(self, x: TowerTensors, own: RowTable, others: RowTable | None) -> Tensor:
        """`own` is the id table of the tower's entity, `others` that of the entity in its history."""
        parts = [self.features(x.features)]
        if self.ids:
            parts.append(own(x.slots_B).unsqueeze(1))
        if self.history is not None and x.history is not None and others is not None:
            parts.append(self.history(x.history, others))
        tokens_BTE = torch.cat(parts, dim=1)
        if tokens_BTE.shape[1] == 0:  # nothing is known of the entity: one constant token
            tokens_BTE = tokens_BTE.new_ones(len(tokens_BTE), 1, tokens_BTE.shape[2])
        return nn.functional.normalize(self.dhen(tokens_BTE).flatten(1), dim=1)


class OverTower(nn.Module):
    """Both vectors, their product and the context -> DHEN -> MLP -> one logit per task. Only here is context seen."""

    def __init__(self, context: BlockSpec, tasks: Sequence[str], sizes: Sizes, dropout: float) -> None:
        super().__init__()
        self.sizes = sizes
        self.context = FeatureTokens(context.categorical, context.multi, context.numeric, context.vectors, sizes.token_width)
        self.dhen = Dhen(3 * sizes.tokens + self.context.tokens, sizes.tokens, sizes.token_width, sizes.hidden, dropout=dropout)
        self.affinity = nn.Linear(1, len(tasks))
        self.heads = nn.ModuleDict(
            {task: nn.Sequential(nn.Linear(sizes.width, sizes.hidden), nn.ReLU(), nn.Linear(sizes.hidden, 1)) for task in tasks}
        )

    def forward(self, user_BD: Tensor, item_BD: Tensor, context: FeatureTensors) -> dict[str, Tensor]:
        scale = self.sizes.width**0.5  # unit vectors have entries of size 1/sqrt(D); the blocks expect size 1
        pair = [user_BD * scale, item_BD * scale, user_BD * item_BD * scale * scale]
        tokens = [x.unflatten(1, (self.sizes.tokens, self.sizes.token_width)) for x in pair]
        flat_BD = self.dhen(torch.cat([*tokens, self.context(context)], dim=1)).flatten(1)
        direct = self.affinity((user_BD * item_BD).sum(1, keepdim=True))
        return {task: head(flat_BD).squeeze(1) + direct[:, i] for i, (task, head) in enumerate(self.heads.items())}


class Derm(nn.Module):
    """The whole upstream model. `histories` names, by entity, the entity in its history and the number of actions."""

    def __init__(
        self, specs: Mapping[str, BlockSpec], entities: Sequence[str], histories: Mapping[str, tuple[str, int]], tasks: Sequence[str],
        sizes: Sizes, ids: bool, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.others = {name: of for name, (of, _) in histories.items()}
        known = dict.fromkeys([*(entities if ids else ()), *self.others.values()])
        self.ids = nn.ModuleDict({name: RowTable(sizes.id_buckets + 1, sizes.token_width) for name in known})
        actions = {name: count for name, (_, count) in histories.items()}
        self.towers = nn.ModuleDict({name: Tower(specs[name], ids, actions.get(name), sizes, dropout) for name in entities})
        self.over = OverTower(specs["context"], tasks, sizes, dropout)

    def embed(self, entity: str, x: TowerTensors) -> Tensor:
        """The entity's vectors, [B, D]: of what is known of it, never of any context."""
        own = self.ids[entity] if entity in self.ids else None  # noqa: SIM401 (ModuleDict has no get)
        others = self.ids[self.others[entity]] if entity in self.others else None
        vectors: Tensor = self.towers[entity](x, own, others)
        return vectors

    def forward(self, user: TowerTensors, item: TowerTensors, context: FeatureTensors) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        user_BD, item_BD = self.embed("user", user), self.embed("item", item)
        return user_BD, item_BD, self.over(user_BD, item_BD, context)
