"""One variant's day: predict today's traffic with yesterday's weights, then learn from it, reading
only what was served.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from headwater.config import DownstreamConfig
from headwater.digests import digest_of
from headwater.embeddings import View
from headwater.evaluation import Variant
from headwater.events import BlockSpec, Examples
from headwater.files import new_folder
from headwater.models.downstream.networks import BLOCK_NAMES, RANKERS, Ranker, SequenceSpec
from headwater.models.downstream.reading import EmbeddingTensors, read_embeddings
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
    seeded,
)
from headwater.nn import FeatureTensors, HistoryTensors, masked_bce
from headwater.plugins import resolve


@dataclass(frozen=True)
class RankerPlan:
    """All that makes one variant of a consumer, but no data. `widths` are those of every embedding
    there is.
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
        """The rows with no more of their histories than the ranker reads: lighter to send to
        another process.
        """
        return rows.with_histories(
            {"user": self.config.sequence.length} if self.sequence is not None else {}
        )

    @property
    def signature(self) -> str:
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
        begin(seeded(self.seed, seed))
        ranker = resolve("headwater.ranker", RANKERS, self.config.model)(
            self.specs, self.config, self.variant.embeddings, self.widths, self.sequence
        )
        return ranker, Optimizers(
            ranker,
            self.config.learning_rate,
            self.config.id_learning_rate,
            self.config.weight_decay,
        )


@dataclass(frozen=True)
class VariantTask:
    """One day's work of one variant (all its seeds), for an engine. `before`: its last checkpoints,
    or None at the start.
    """

    plan: RankerPlan
    day: dt.date
    rows: Examples
    view: View
    before: Path | None
    folder: Path
    fingerprint: str


@torch.no_grad()
def predict_variant(task: VariantTask) -> dict[int, np.ndarray]:
    """Probabilities, float32 [N], for the rows by each seed's model as it stood before the day."""
    scores = {}
    inputs = _inputs(task)
    for seed, ranker, _ in _models(task):
        ranker.eval()
        parts = [
            torch.sigmoid(ranker(*inputs.rows(index))[:, 0])
            for index in torch.arange(len(task.rows)).split(4096)
        ]
        scores[seed] = torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
    return scores


def fit_variant(task: VariantTask) -> dict[str, float]:
    """Learn the rows and save every seed's model under `task.folder`, whole or not at all. Returns
    figures.
    """
    plan = task.plan
    inputs = _inputs(task)
    labels_NK = torch.from_numpy(np.stack([task.rows.labels[name] for name in plan.tasks], axis=1))
    losses: list[float] = []
    with new_folder(task.folder) as aside:
        for seed, ranker, optimizers in _models(task):
            for name in BLOCK_NAMES:
                ranker.features[name].observe(inputs.blocks[name])  # type: ignore[operator]
                ranker.features[name].learn()  # type: ignore[operator]
            losses += _learn(task, ranker, optimizers, inputs, labels_NK, seed)
            meta = {
                "signature": plan.signature,
                "day": str(task.day),
                "fingerprint": task.fingerprint,
            }
            save_checkpoint(aside, ranker, optimizers, meta, name=f"seed-{seed}")
    return {"loss": float(np.mean(losses)) if losses else float("nan")}


def _learn(
    task: VariantTask,
    ranker: Ranker,
    optimizers: Optimizers,
    inputs: _Inputs,
    labels_NK: torch.Tensor,
    seed: int,
) -> list[float]:
    plan, losses = task.plan, list[float]()
    ranker.train()
    torch.manual_seed(day_seed(plan.seed, task.day, seed))
    for epoch in range(plan.config.epochs if len(labels_NK) else 0):
        for step, index in enumerate(
            batches(
                len(labels_NK), plan.config.batch_rows, day_seed(plan.seed, task.day, seed, epoch)
            )
        ):
            logits_BK = ranker(*inputs.rows(index))
            loss = torch.stack(
                [
                    weight * masked_bce(logits_BK[:, k], labels_NK[index, k])
                    for k, weight in enumerate(plan.tasks.values())
                ]
            ).sum()
            where = (
                f"downstream {plan.consumer}, variant {plan.variant.name}, seed {seed}, day"
                f" {task.rows.day}, batch {step}"
            )
            losses.append(optimizers.step(loss, where))
    return losses


@dataclass(frozen=True)
class Cost:
    """What a ranker costs: rows learnt a second by one core, numbers that the embeddings add to a
    row, bytes of its weights but for ids.
    """

    rows_a_second: float
    joined_numbers: int
    dense_bytes: int


def costs_of(tasks: Mapping[str, VariantTask], rounds: int = 5) -> dict[str, Cost]:
    """The cost of several rankers on the same rows. They are timed in turn, `rounds` times, so that
    a busy machine slows all alike; medians.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    found: dict[str, Cost] = {}
    for turn in range(rounds):
        for name, task in tasks.items():
            ranker, optimizers = task.plan.build(turn)
            inputs = _inputs(task)
            labels_NK = torch.from_numpy(
                np.stack([task.rows.labels[of] for of in task.plan.tasks], axis=1)
            )
            begun = time.perf_counter()
            _learn(task, ranker, optimizers, inputs, labels_NK, turn)
            seconds[name].append(time.perf_counter() - begun)
            speed = len(task.rows) * task.plan.config.epochs / float(np.median(seconds[name]))
            found[name] = Cost(
                speed,
                ranker.embedding_width,
                sum(p.numel() * p.element_size() for p in ranker.parameters()),
            )
    return found


def _models(task: VariantTask) -> Iterator[tuple[int, Ranker, Optimizers]]:
    for seed in task.plan.config.seeds:
        ranker, optimizers = task.plan.build(seed)
        if task.before is not None:
            load_checkpoint(
                task.before,
                ranker,
                optimizers,
                {"signature": task.plan.signature},
                name=f"seed-{seed}",
            )
        yield seed, ranker, optimizers


class _Inputs(NamedTuple):
    """What a ranker reads of N rows."""

    blocks: dict[str, FeatureTensors]
    read: dict[str, EmbeddingTensors]
    history: HistoryTensors | None

    def rows(self, index: torch.Tensor) -> _Inputs:
        blocks = {name: part.rows(index) for name, part in self.blocks.items()}
        read = {name: part.rows(index) for name, part in self.read.items()}
        return _Inputs(blocks, read, None if self.history is None else self.history.rows(index))


def _inputs(task: VariantTask) -> _Inputs:
    rows, config = task.rows, task.plan.config
    blocks = {
        name: feature_tensors(rows.entities[name], id_slots(rows.keys[name], config.id_buckets))
        for name in BLOCK_NAMES[:2]
    } | {
        "context": feature_tensors(rows.context),
        "counters": _counter_tensors(rows, config.counters),
    }
    history = (
        None
        if task.plan.sequence is None
        else history_tensors(task.plan.reads(rows).histories["user"], config.id_buckets)
    )
    return _Inputs(
        blocks,
        read_embeddings(task.view, task.plan.variant, rows, task.plan.widths, task.plan.seed),
        history,
    )


def _counter_tensors(rows: Examples, scope: str) -> FeatureTensors:
    counts = rows.counters.get(scope, np.zeros((len(rows), 0), np.float32))
    return FeatureTensors(
        torch.zeros(len(rows), 0, dtype=torch.long), (), torch.from_numpy(counts), ()
    )
