"""What a ranker reads of a day's rows, as tensors. Shape suffixes: N rows, K tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headwater.events import Examples
from headwater.models.downstream.networks import BLOCK_NAMES
from headwater.models.downstream.plan import VariantTask
from headwater.models.downstream.reading import (
    EmbeddingTensors,
    LookedUpOnce,
    read_embeddings,
)
from headwater.models.training import feature_tensors, history_tensors, id_slots
from headwater.nn import FeatureTensors, HistoryTensors


class Inputs(NamedTuple):
    """What a ranker reads of N rows: its arguments."""

    blocks: dict[str, FeatureTensors]
    read: dict[str, EmbeddingTensors]
    history: HistoryTensors | None

    def rows(self, index: Tensor) -> Inputs:
        blocks = {name: part.rows(index) for name, part in self.blocks.items()}
        read = {name: part.rows(index) for name, part in self.read.items()}
        return Inputs(blocks, read, None if self.history is None else self.history.rows(index))


def inputs_of(task: VariantTask) -> Inputs:
    """Features, served embeddings and history of all rows. Raises LeakError, SpaceMismatch."""
    (inputs,) = inputs_of_each([task])
    return inputs


def inputs_of_each(tasks: Sequence[VariantTask]) -> Iterator[Inputs]:
    """What each of a consumer's variants reads of the same rows.

    Features and history are prepared once, and a vector that several read is looked up once. Raises
    LeakError, SpaceMismatch.
    """
    first = tasks[0]
    plan, rows, view = first.plan, first.rows, LookedUpOnce(first.view)
    buckets = plan.config.id_buckets
    blocks = {
        name: feature_tensors(rows.entities[name], id_slots(rows.keys[name], buckets))
        for name in BLOCK_NAMES[:2]
    }
    blocks["context"] = feature_tensors(rows.context)
    blocks["counters"] = _counter_tensors(rows, plan.config.counters)
    history = None
    if plan.sequence is not None:
        history = history_tensors(plan.reads(rows).histories["user"], buckets)
    for task in tasks:
        variant = task.plan.variant
        read = read_embeddings(view, variant, rows, plan.widths, plan.seed)
        yield Inputs(blocks, read, history)


def labels_of(task: VariantTask) -> Tensor:
    """Labels [N, K] of the plan's tasks, in their order; NaN where there is none."""
    labels = [task.rows.labels[name] for name in task.plan.tasks]
    return torch.from_numpy(np.stack(labels, axis=1))


def _counter_tensors(rows: Examples, scope: str) -> FeatureTensors:
    counts = rows.counters.get(scope, np.zeros((len(rows), 0), np.float32))
    return FeatureTensors(
        torch.zeros(len(rows), 0, dtype=torch.long), (), torch.from_numpy(counts), ()
    )
