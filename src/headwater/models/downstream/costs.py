"""What rankers cost: speed, numbers joined, bytes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headwater.models.downstream.inputs import inputs_of, labels_of
from headwater.models.downstream.learning import learn
from headwater.models.downstream.plan import VariantTask


@dataclass(frozen=True)
class Cost:
    """What a ranker costs.

    Rows learnt a second by one core, numbers that the embeddings add to a row, and bytes of its
    weights but for ids.
    """

    rows_a_second: float
    joined_numbers: int
    dense_bytes: int


def costs_of(tasks: Mapping[str, VariantTask], rounds: int = 5) -> dict[str, Cost]:
    """The cost of several rankers on the same rows.

    They are timed in turn, `rounds` times, so that a busy machine slows all alike; medians.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    found: dict[str, Cost] = {}
    for turn in range(rounds):
        for name, task in tasks.items():
            stack, optimizers = task.plan.build([turn])
            inputs = inputs_of(task)
            labels_NK = labels_of(task)
            begun = time.perf_counter()
            learn(task, stack, optimizers, inputs, labels_NK, [turn])
            seconds[name].append(time.perf_counter() - begun)
            speed = len(task.rows) * task.plan.config.epochs / float(np.median(seconds[name]))
            weights = sum(
                weight.numel() * weight.element_size() for weight in stack.module.parameters()
            )
            found[name] = Cost(speed, stack.module.embedding_width, weights)
    return found
