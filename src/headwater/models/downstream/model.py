"""One arm's day: predict today's traffic with yesterday's weights, then learn from it, reading only what was served."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from headwater.config import DownstreamConfig
from headwater.embeddings import View
from headwater.evaluation import Arm
from headwater.events import BlockSpec, Examples
from headwater.files import digest_of, new_folder
from headwater.models.downstream.networks import BLOCK_NAMES, RANKERS, Ranker
from headwater.models.downstream.reading import EmbeddingTensors, read_embeddings
from headwater.models.training import (
    Optimizers,
    batches,
    begin,
    day_seed,
    feature_tensors,
    id_slots,
    load_checkpoint,
    save_checkpoint,
    seeded,
)
from headwater.nn import FeatureTensors, masked_bce
from headwater.plugins import resolve

Part = TypeVar("Part", FeatureTensors, EmbeddingTensors)


@dataclass(frozen=True)
class RankerPlan:
    """All that makes one arm of a consumer, but no data. `widths` are those of every embedding there is."""

    consumer: str
    arm: Arm
    config: DownstreamConfig
    specs: Mapping[str, BlockSpec]
    widths: Mapping[str, int]
    seed: int

    @property
    def signature(self) -> str:
        config = self.config.model_dump(mode="json", exclude={"arms", "seeds"})
        specs = {name: asdict(spec) for name, spec in self.specs.items()}
        return digest_of(self.consumer, asdict(self.arm), config, specs, dict(self.widths), self.seed)

    def build(self, seed: int) -> tuple[Ranker, Optimizers]:
        begin(seeded(self.seed, seed))
        ranker = resolve("headwater.ranker", RANKERS, self.config.model)(self.specs, self.config, self.arm.embeddings, self.widths)
        return ranker, Optimizers(ranker, self.config.learning_rate, self.config.id_learning_rate, self.config.weight_decay)


@dataclass(frozen=True)
class ArmTask:
    """One day's work of one arm (all its seeds), for an engine. `before`: its last checkpoints, or None at the start."""

    plan: RankerPlan
    day: dt.date
    rows: Examples
    view: View
    before: Path | None
    folder: Path
    fingerprint: str


@torch.no_grad()
def predict_arm(task: ArmTask) -> dict[int, np.ndarray]:
    """Probabilities, float32 [N], for the rows by each seed's model as it stood before the day."""
    scores = {}
    blocks, read = _inputs(task)
    for seed, ranker, _ in _models(task):
        ranker.eval()
        parts = [torch.sigmoid(ranker(_rows(blocks, index), _rows(read, index))) for index in torch.arange(len(task.rows)).split(4096)]
        scores[seed] = torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
    return scores


def fit_arm(task: ArmTask) -> dict[str, float]:
    """Learn the rows and save every seed's model under `task.folder`, whole or not at all. Returns figures."""
    plan, config = task.plan, task.plan.config
    blocks, read = _inputs(task)
    labels = torch.from_numpy(task.rows.labels[config.task])
    losses: list[float] = []
    with new_folder(task.folder) as aside:
        for seed, ranker, optimizers in _models(task):
            ranker.train()
            for name in BLOCK_NAMES:
                ranker.features[name].observe(blocks[name])  # type: ignore[operator]
            torch.manual_seed(day_seed(plan.seed, task.day, seed))
            for epoch in range(config.epochs if len(labels) else 0):
                for step, index in enumerate(batches(len(labels), config.batch_rows, day_seed(plan.seed, task.day, seed, epoch))):
                    loss = masked_bce(ranker(_rows(blocks, index), _rows(read, index)), labels[index])
                    where = f"downstream {plan.consumer}, arm {plan.arm.name}, seed {seed}, day {task.rows.day}, batch {step}"
                    losses.append(optimizers.step(loss, where))
            meta = {"signature": plan.signature, "day": str(task.day), "fingerprint": task.fingerprint}
            save_checkpoint(aside, ranker, optimizers, meta, name=f"seed-{seed}")
    return {"loss": float(np.mean(losses)) if losses else float("nan")}


def _models(task: ArmTask) -> Iterator[tuple[int, Ranker, Optimizers]]:
    for seed in task.plan.config.seeds:
        ranker, optimizers = task.plan.build(seed)
        if task.before is not None:
            load_checkpoint(task.before, ranker, optimizers, {"signature": task.plan.signature}, name=f"seed-{seed}")
        yield seed, ranker, optimizers


def _inputs(task: ArmTask) -> tuple[dict[str, FeatureTensors], dict[str, EmbeddingTensors]]:
    rows, config = task.rows, task.plan.config
    blocks = {
        name: feature_tensors(rows.entities[name], id_slots(rows.keys[name], config.id_buckets)) for name in BLOCK_NAMES[:2]
    } | {"context": feature_tensors(rows.context), "counters": _counter_tensors(rows, config.counters)}
    return blocks, read_embeddings(task.view, task.plan.arm, rows, task.plan.widths, task.plan.seed)


def _counter_tensors(rows: Examples, scope: str) -> FeatureTensors:
    counts = rows.counters.get(scope, np.zeros((len(rows), 0), np.float32))
    return FeatureTensors(torch.zeros(len(rows), 0, dtype=torch.long), (), torch.from_numpy(counts), ())


def _rows(parts: Mapping[str, Part], index: torch.Tensor) -> dict[str, Part]:
    return {name: part.rows(index) for name, part in parts.items()}
