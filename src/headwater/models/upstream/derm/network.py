"""DERM's network: two towers that never see context, and overtowers that see both (arXiv
2509.04337).

Shape suffixes: B rows, T tokens, E token width, D = tokens * token width, the width of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headwater.config import UpstreamConfig
from headwater.events import BlockSpec
from headwater.models.training import feature_tokens
from headwater.models.upstream.derm.plan import Past, Sizes
from headwater.nn import (
    HEADS,
    Dhen,
    FeatureTensors,
    FeatureTokens,
    HistoryTensors,
    HistoryTokens,
    LayerDesign,
    RowTable,
)
from headwater.plugins import resolve

LEAST_TEMPERATURE = 0.01


class TowerTensors(NamedTuple):
    """What a tower reads: an entity's id slots (0: not known), its features, and its histories by
    the log they are of.
    """

    slots_B: Tensor
    features: FeatureTensors
    histories: Mapping[str, HistoryTensors]


def hidden(x: TowerTensors, rows_B: Tensor) -> TowerTensors:
    """The same, some rows as of entities that nobody has seen: no id (slot 0) and no events. So
    towers learn what content alone tells.
    """
    histories = {
        log: past._replace(slots_BL=torch.where(rows_B[:, None], 0, past.slots_BL))
        for log, past in x.histories.items()
    }
    return TowerTensors(torch.where(rows_B, 0, x.slots_B), x.features, histories)


def dhen_of(config: UpstreamConfig, tokens_in: int, sizes: Sizes) -> Dhen:
    dhen = config.dhen
    design = LayerDesign(
        sizes.token_width, sizes.hidden, dhen.heads, config.dropout, dhen.ensemble, dhen.shortcut
    )
    return Dhen(tokens_in, sizes.tokens, design, dhen.layers)


class Tower(nn.Module):
    """Id, features and histories -> tokens -> DHEN -> flatten -> L2: an entity's vector, [B, D]."""

    def __init__(
        self, spec: BlockSpec, histories: Mapping[str, Past], config: UpstreamConfig, sizes: Sizes
    ) -> None:
        super().__init__()
        self.ids, self.hides = config.ids, config.hides
        self.features = feature_tokens(spec, sizes.token_width)
        self.logs = tuple(histories)
        self.histories = nn.ModuleList(
            HistoryTokens(past.actions, sizes.token_width) for past in histories.values()
        )
        read = sum(history.tokens for history in self.histories)  # type: ignore[misc]
        tokens = int(self.ids) + self.features.tokens + read
        self.dhen = dhen_of(config, max(1, tokens), sizes)

    def forward(
        self, x: TowerTensors, own: RowTable | None, others: Mapping[str, RowTable]
    ) -> Tensor:
        """`own` is the id table of the tower's entity, `others` those of the entities in its
        histories.
        """
        if self.training and self.hides > 0:
            x = hidden(x, torch.rand(len(x.slots_B), device=x.slots_B.device) < self.hides)
        parts = [self.features(x.features)]
        if self.ids and own is not None:
            parts.append(own(x.slots_B).unsqueeze(1))
        parts += [
            history(x.histories[log], others[log])
            for log, history in zip(self.logs, self.histories, strict=True)
        ]
        tokens_BTE = torch.cat(parts, dim=1)
        if tokens_BTE.shape[1] == 0:  # nothing is known of the entity: one constant token
            tokens_BTE = tokens_BTE.new_ones(len(tokens_BTE), 1, tokens_BTE.shape[2])
        return nn.functional.normalize(self.dhen(tokens_BTE).flatten(1).float(), dim=1)


class OverTower(nn.Module):
    """Both vectors, their product and the context -> DHEN -> heads -> one logit per task. Only here
    is context seen.
    """

    def __init__(
        self, context: BlockSpec, tasks: Sequence[str], config: UpstreamConfig, sizes: Sizes
    ) -> None:
        super().__init__()
        self.sizes, self.tasks = sizes, tuple(tasks)
        self.context = feature_tokens(context, sizes.token_width)
        self.dhen = dhen_of(config, 3 * sizes.tokens + self.context.tokens, sizes)
        self.affinity = nn.Linear(1, len(tasks))
        self.heads = resolve("headwater.head", HEADS, config.heads)(
            sizes.width, sizes.hidden, self.tasks, config.experts
        )

    def forward(
        self, user_BD: Tensor, item_BD: Tensor, context: FeatureTensors
    ) -> dict[str, Tensor]:
        scale = (
            self.sizes.width**0.5
        )  # unit vectors have entries of size 1/sqrt(D); the blocks expect size 1
        pair = [user_BD * scale, item_BD * scale, user_BD * item_BD * scale * scale]
        tokens = [x.unflatten(1, (self.sizes.tokens, self.sizes.token_width)) for x in pair]
        flat_BD = self.dhen(torch.cat([*tokens, self.context(context)], dim=1)).flatten(1)
        direct = self.affinity((user_BD * item_BD).sum(1, keepdim=True))
        return {
            task: logit.float() + direct[:, self.tasks.index(task)].float()
            for task, logit in self.heads(flat_BD).items()
        }


class CosineOnly(nn.Module):
    """No overtower: a task's logit is a_k u.p + b_k, so that neither context nor interactions help
    (DERM's ablation, T7).
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.affinity = nn.Linear(1, len(tasks))

    def forward(
        self, user_BD: Tensor, item_BD: Tensor, context: FeatureTensors
    ) -> dict[str, Tensor]:
        logits_BK = self.affinity((user_BD * item_BD).sum(1, keepdim=True))
        return {task: logits_BK[:, k].float() for k, task in enumerate(self.tasks)}


class Derm(nn.Module):
    """The whole upstream model: one tower an entity, whatever the log; one overtower with heads a
    log (`contexts`, `tasks`).

    `histories` are those that each entity's tower reads, by the log they are of.
    """

    def __init__(
        self,
        specs: Mapping[str, BlockSpec],
        contexts: Mapping[str, BlockSpec],
        histories: Mapping[str, Mapping[str, Past]],
        tasks: Mapping[str, Sequence[str]],
        config: UpstreamConfig,
        sizes: Sizes,
    ) -> None:
        super().__init__()
        self.others = {
            entity: {log: past.of for log, past in of_logs.items()}
            for entity, of_logs in histories.items()
        }
        named = [of for of_logs in self.others.values() for of in of_logs.values()]
        self.ids = nn.ModuleDict(
            {
                name: RowTable(sizes.id_buckets + 1, sizes.token_width)
                for name in dict.fromkeys([*(specs if config.ids else ()), *named])
            }
        )
        self.towers = nn.ModuleDict(
            {
                name: Tower(spec, histories.get(name, {}), config, sizes)
                for name, spec in specs.items()
            }
        )
        self.logs = tuple(
            tasks
        )  # a list beside their overtowers, for a log may be named like a method of nn.ModuleDict
        self.over = nn.ModuleList(
            (
                OverTower(contexts[log], of_log, config, sizes)
                if config.overtower
                else CosineOnly(of_log)
            )
            for log, of_log in tasks.items()
        )
        self.log_temperature = (
            nn.Parameter(torch.tensor(config.temperature).log())
            if config.learn_temperature
            else None
        )
        self.fixed_temperature = config.temperature

    @property
    def temperature(self) -> Tensor | float:
        return (
            self.fixed_temperature
            if self.log_temperature is None
            else self.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)
        )

    def feature_tokens(self) -> dict[str, FeatureTokens]:
        """What reads features: of each entity and, as `@LOG`, of the context of each log that has
        an overtower.
        """
        towers = {entity: tower.features for entity, tower in self.towers.items()}
        overtowers = {
            f"@{log}": over.context
            for log, over in zip(self.logs, self.over, strict=True)
            if isinstance(over, OverTower)
        }
        return towers | overtowers  # type: ignore[return-value]

    def embed(self, entity: str, x: TowerTensors) -> Tensor:
        """The entity's vectors, [B, D]: of what is known of it, never of any context."""
        own = self.ids[entity] if entity in self.ids else None  # noqa: SIM401 (ModuleDict has no get)
        others = {log: self.ids[of] for log, of in self.others.get(entity, {}).items()}
        vectors: Tensor = self.towers[entity](x, own, others)
        return vectors

    def forward(
        self, log: str, user: TowerTensors, item: TowerTensors, context: FeatureTensors
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        user_BD, item_BD = self.embed("user", user), self.embed("item", item)
        return user_BD, item_BD, self.over[self.logs.index(log)](user_BD, item_BD, context)
