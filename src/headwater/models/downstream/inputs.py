"""What a ranker reads of a day's rows, as tensors. Shape suffixes: N rows, K tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headwater.evaluation import Variant
from headwater.events import Examples
from headwater.models.downstream.networks import BLOCK_NAMES
from headwater.models.downstream.plan import VariantTask
from headwater.models.downstream.reading import (
    EmbeddingTensors,
    LookedUpOnce,
    one_after_the_other,
    read_embeddings,
)
from headwater.models.training import feature_tensors, history_tensors, id_slots, seeded
from headwater.nn import FeatureTensors, HistoryTensors


class Arguments(NamedTuple):
    """What a ranker is called with."""

    blocks: dict[str, FeatureTensors]
    read: dict[str, EmbeddingTensors]
    history: HistoryTensors | None


@dataclass(frozen=True)
class Inputs:
    """What the rankers of a variant read of N rows.

    Of a variant with shuffled embeddings, `read` holds what each of `deals` seeds reads, one after
    the other: they are dealt out anew for each, so that the chance in a deal is part of the chance
    in training. `whole_N` are the rows for which every vector of the variant is there (of a
    shuffled one too, so that a control falls back where the variant does).
    """

    blocks: dict[str, FeatureTensors]
    read: dict[str, EmbeddingTensors]
    history: HistoryTensors | None
    whole_N: np.ndarray
    deals: int = 1

    @property
    def size(self) -> int:
        """N."""
        return len(self.blocks["user"].numeric_BF)

    def of_seeds(self, index: Tensor, seeds: int) -> Tensor:
        """The rows [B] or [S, B] as each of S seeds reads them, for `rows`."""
        if self.deals == 1:
            return index
        return index + self.size * torch.arange(seeds)[:, None]

    def rows(self, index: Tensor) -> Arguments:
        """Of some rows, by number; see `of_seeds`."""
        own = index if self.deals == 1 else index % self.size
        blocks = {name: part.rows(own) for name, part in self.blocks.items()}
        read = {name: part.rows(index) for name, part in self.read.items()}
        return Arguments(blocks, read, None if self.history is None else self.history.rows(own))


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
        variant, seeds = task.plan.variant, task.plan.config.seeds
        dealt = [seeded(plan.seed, seed) for seed in seeds] if variant.shuffled else [plan.seed]
        reads = [read_embeddings(view, variant, rows, plan.widths, seed) for seed in dealt]
        whole_N = _whole(view, variant, rows)
        yield Inputs(blocks, one_after_the_other(reads), history, whole_N, len(dealt))


def _whole(view: LookedUpOnce, variant: Variant, rows: Examples) -> np.ndarray:
    """The rows for which every vector of a variant is there, [N]."""
    whole_N = np.ones(len(rows), bool)
    for name in variant.embeddings:
        served = view.read(name, rows.keys[name.rsplit("_", 1)[1]], rows.day)
        whole_N &= False if served is None else served.found_N
    return whole_N


def labels_of(task: VariantTask) -> Tensor:
    """Labels [N, K] of the plan's tasks, in their order; NaN where there is none."""
    labels = [task.rows.labels[name] for name in task.plan.tasks]
    return torch.from_numpy(np.stack(labels, axis=1))


def _counter_tensors(rows: Examples, scope: str) -> FeatureTensors:
    counts = rows.counters.get(scope, np.zeros((len(rows), 0), np.float32))
    return FeatureTensors(
        torch.zeros(len(rows), 0, dtype=torch.long), (), torch.from_numpy(counts), ()
    )
