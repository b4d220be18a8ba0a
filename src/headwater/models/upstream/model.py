"""One upstream's day: go on from yesterday's checkpoint, learn today's rows, save, and embed whom today showed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from headwater.config import UpstreamConfig
from headwater.embeddings import Snapshot, Space
from headwater.embeddings.snapshot import day_number
from headwater.events import BlockSpec, Examples
from headwater.files import digest_of, new_folder
from headwater.models.training import (
    Optimizers,
    batches,
    begin,
    day_seed,
    feature_tensors,
    history_tensors,
    id_slots,
    load_checkpoint,
    save_checkpoint,
)
from headwater.models.upstream.derm import Derm, Sizes, TowerTensors
from headwater.nn import FeatureTensors, StreamingFrequency, contrastive_loss, masked_bce

SIZES = {
    "tiny": Sizes(token_width=8, tokens=2, hidden=32, batch_rows=256, id_buckets=5_000),
    "small": Sizes(token_width=16, tokens=4, hidden=64, batch_rows=512, id_buckets=50_000),
    "medium": Sizes(token_width=16, tokens=8, hidden=256, batch_rows=1024, id_buckets=1_000_000),
    "large": Sizes(token_width=32, tokens=8, hidden=512, batch_rows=4096, id_buckets=10_000_000),
}
FORMAT = 1  # part of the signature; raised when the network's layout changes


def sizes_of(config: UpstreamConfig) -> Sizes:
    """The size dial's values, each replaced by what the config sets itself."""
    base = asdict(SIZES[config.size])
    return Sizes(**{name: getattr(config, name) if getattr(config, name) is not None else value for name, value in base.items()})


@dataclass(frozen=True)
class UpstreamPlan:
    """All that makes an upstream model, and so its space, but no data."""

    name: str
    config: UpstreamConfig
    specs: Mapping[str, BlockSpec]
    entities: tuple[str, ...]
    histories: Mapping[str, tuple[str, int]]
    seed: int

    @property
    def signature(self) -> str:
        specs = {name: asdict(spec) for name, spec in self.specs.items()}
        return digest_of(FORMAT, self.name, self.config.model_dump(mode="json"), specs, self.entities, dict(self.histories), self.seed)

    def space(self, first_day: dt.date) -> Space:
        """A space is one training run: these settings, begun on that day."""
        return Space(self.name, digest_of(self.signature, first_day), sizes_of(self.config).width, first_day)

    def build(self) -> tuple[Derm, StreamingFrequency]:
        sizes = sizes_of(self.config)
        model = Derm(self.specs, self.entities, self.histories, self.config.tasks, sizes, self.config.ids, self.config.dropout)
        return model, StreamingFrequency(sizes.id_buckets + 1)


@dataclass(frozen=True)
class UpstreamTask:
    """One day's work of one upstream, for an engine. `before`: yesterday's checkpoint, or None to begin the space."""

    plan: UpstreamPlan
    day: dt.date
    learn: tuple[Examples, ...]
    show: Examples
    before: Path | None
    folder: Path
    fingerprint: str


class _Trainee(torch.nn.Module):
    """The network and the frequency estimate, saved together."""

    def __init__(self, plan: UpstreamPlan) -> None:
        super().__init__()
        self.derm, self.frequency = plan.build()


def fit_day(task: UpstreamTask) -> None:
    """Learn and save under `task.folder`, whole or not at all."""
    plan = task.plan
    begin(plan.seed)
    trainee = _Trainee(plan)
    optimizers = Optimizers(trainee, plan.config.learning_rate, plan.config.id_learning_rate, plan.config.weight_decay)
    meta: dict[str, Any] = {"signature": plan.signature, "day": str(task.day), "first_day": str(task.day), "fingerprint": task.fingerprint}
    if task.before is not None:
        meta["first_day"] = load_checkpoint(task.before, trainee, optimizers, meta)["first_day"]
    torch.manual_seed(day_seed(plan.seed, task.day))
    losses: list[float] = []
    for epoch in range(plan.config.epochs):
        for part, examples in enumerate(task.learn):
            rows = examples.where_defined(tuple(examples.labels))
            if len(rows) > 0:
                losses += _epoch(plan, trainee, optimizers, rows, day_seed(plan.seed, task.day, epoch, part), observe=epoch == 0)
    meta["training"] = {"loss": float(np.mean(losses)) if losses else None, "steps": len(losses)}
    with new_folder(task.folder) as aside:
        save_checkpoint(aside, trainee, optimizers, meta)


def _epoch(plan: UpstreamPlan, trainee: _Trainee, optimizers: Optimizers, rows: Examples, seed: int, observe: bool) -> list[float]:
    config, derm, frequency = plan.config, trainee.derm, trainee.frequency
    towers = {name: tower_tensors(plan, rows, name) for name in plan.entities}
    context = feature_tensors(rows.context)
    if observe:
        observe_features(derm, towers, context)
    labels = {task: torch.from_numpy(rows.labels[task]) for task in config.tasks if task in rows.labels}
    item_slots = torch.from_numpy(id_slots(rows.keys["item"], sizes_of(config).id_buckets))
    item_keys = torch.from_numpy(rows.keys["item"].astype(np.int64))
    losses = []
    trainee.train()
    for step, index in enumerate(batches(len(rows), sizes_of(config).batch_rows, seed)):
        user, item, logits = derm(towers["user"].rows(index), towers["item"].rows(index), context.rows(index))
        log_q = frequency.observe(item_slots[index])
        loss = torch.stack([masked_bce(logits[task], label[index]) for task, label in labels.items()]).sum()
        if config.contrastive_weight > 0:
            for label in labels.values():
                loss = loss + config.contrastive_weight / len(labels) * contrastive_loss(
                    user, item, item_keys[index], label[index] == 1, log_q, config.temperature
                )
        losses.append(optimizers.step(loss, f"upstream {plan.name}, day {rows.day}, batch {step}"))
    trainee.eval()
    return losses


def observe_features(derm: Derm, towers: Mapping[str, TowerTensors], context: FeatureTensors) -> None:
    """Let the numeric scales take in a past day, before it is learnt."""
    for name, tower in towers.items():
        derm.towers[name].features.observe(tower.features)  # type: ignore[operator, union-attr]
    derm.over.context.observe(context)


def tower_tensors(plan: UpstreamPlan, rows: Examples, entity: str) -> TowerTensors:
    buckets = sizes_of(plan.config).id_buckets
    history = history_tensors(rows.histories[entity], buckets) if entity in plan.histories else None
    slots = torch.from_numpy(id_slots(rows.keys[entity], buckets))
    return TowerTensors(slots, feature_tensors(rows.entities[entity]), history)


@torch.no_grad()
def embed_day(task: UpstreamTask, space: Space, ids: Mapping[str, tuple[np.ndarray, pl.Series]]) -> list[Snapshot]:
    """The fresh vectors of everyone whom the day's rows show: each entity's last row of the day, through its tower."""
    plan = task.plan
    begin(plan.seed)
    trainee = _Trainee(plan)
    optimizers = Optimizers(trainee, plan.config.learning_rate, plan.config.id_learning_rate, plan.config.weight_decay)
    load_checkpoint(task.folder, trainee, optimizers, {"signature": plan.signature})
    trainee.eval()
    snapshots = []
    for entity in plan.entities:
        keys, last = last_rows(task.show.keys[entity])
        shown = tower_tensors(plan, task.show.take(last), entity)
        parts = [trainee.derm.embed(entity, shown.rows(index)) for index in torch.arange(len(keys)).split(4096)]
        known_keys, known_ids = ids[entity]
        assert np.array_equal(known_keys, keys)
        seen = np.full(len(keys), day_number(task.day), np.int32)
        snapshots.append(Snapshot(space, entity, task.day, keys, torch.cat(parts).numpy(), seen, known_ids))
    return snapshots


def last_rows(keys_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, ascending, and the last row of each (rows are oldest first)."""
    keys, from_end = np.unique(keys_N[::-1], return_index=True)
    return keys, len(keys_N) - 1 - from_end
