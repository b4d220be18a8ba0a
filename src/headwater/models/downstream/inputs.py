"""What a ranker reads of a day's rows, as tensors. Shape suffixes: N rows, K tasks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headwater.events import Examples
from headwater.models.downstream.networks import BLOCK_NAMES
from headwater.models.downstream.plan import VariantTask
from headwater.models.downstream.reading import EmbeddingTensors, read_embeddings
from headwater.models.training import feature_tensors, history_tensors, id_slots, seeded
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

    def of_seed(self, task: VariantTask, seed: int) -> Inputs:
        """What the model of one seed reads: shuffled embeddings are dealt out anew for each, so
        that the chance in a deal is part of the chance in training.
        """
        plan = task.plan
        if not plan.variant.shuffled:
            return self
        dealt = seeded(plan.seed, seed)
        return self._replace(
            read=read_embeddings(task.view, plan.variant, task.rows, plan.widths, dealt)
        )


def inputs_of(task: VariantTask) -> Inputs:
    """Features, served embeddings and history of all rows; see also `Inputs.of_seed`.

    Raises LeakError, SpaceMismatch.
    """
    plan, rows = task.plan, task.rows
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
    read = read_embeddings(task.view, plan.variant, rows, plan.widths, plan.seed)
    return Inputs(blocks, read, history)


def labels_of(task: VariantTask) -> Tensor:
    """Labels [N, K] of the plan's tasks, in their order; NaN where there is none."""
    labels = [task.rows.labels[name] for name in task.plan.tasks]
    return torch.from_numpy(np.stack(labels, axis=1))


def _counter_tensors(rows: Examples, scope: str) -> FeatureTensors:
    counts = rows.counters.get(scope, np.zeros((len(rows), 0), np.float32))
    return FeatureTensors(
        torch.zeros(len(rows), 0, dtype=torch.long), (), torch.from_numpy(counts), ()
    )
