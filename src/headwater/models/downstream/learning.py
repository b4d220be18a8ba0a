"""One variant's day: predict the day's rows with the weights of the day before, then learn them.

All its seeds as one; of embeddings they read only what was served. Shape suffixes: N rows, B rows
of a batch, S seeds, K tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headwater.files import new_folder
from headwater.models.downstream.inputs import Inputs, inputs_of, inputs_of_each, labels_of
from headwater.models.downstream.networks import BLOCK_NAMES, Ranker
from headwater.models.downstream.plan import RankerJob, RankerPlan, VariantTask
from headwater.models.downstream.standing import as_it_stood, save
from headwater.models.training import Optimizers, batches, day_seed
from headwater.nn import SeededDropout, Stack, masked_bce

PREDICTED_ROWS = 4096  # at once


class Predicted(NamedTuple):
    """Of one variant: probabilities [N] by seed, and the rows that had all its vectors, [N]."""

    scores: dict[int, np.ndarray]
    whole_N: np.ndarray


def predict_day(job: RankerJob) -> list[Predicted]:
    """See `predict_variant`; an answer for each variant of the job."""
    tasks = job.to_predict()
    return [
        Predicted(predict_variant(task, inputs), inputs.whole_N)
        for task, inputs in zip(tasks, inputs_of_each(tasks), strict=True)
    ]


def fall_back(variant: Predicted, base: Predicted) -> Predicted:
    """What a variant predicts where it has all its vectors, and elsewhere what `base` does, which
    reads none: who has no vector is served as well as before there were any.
    """
    scores = {
        seed: np.where(variant.whole_N, scores_N, base.scores[seed])
        for seed, scores_N in variant.scores.items()
    }
    return variant._replace(scores=scores)


def learn_day(job: RankerJob) -> None:
    """See `fit_variant`."""
    tasks = job.to_learn()
    for task, inputs in zip(tasks, inputs_of_each(tasks), strict=True):
        fit_variant(task, inputs)


@torch.no_grad()
def predict_variant(task: VariantTask, inputs: Inputs | None = None) -> dict[int, np.ndarray]:
    """Probabilities, float32 [N], for the rows by each seed's model as it stood before the day.

    `inputs` are what it reads, if that is at hand.
    """
    inputs = inputs_of(task) if inputs is None else inputs
    stack, _ = as_it_stood(task, inputs)
    stack.module.eval()
    stack.at_once = False  # so many rows are faster where one seed's stay in the cache
    parts_SB = [
        torch.sigmoid(stack(inputs.rows, inputs.of_seeds(index, stack.size))[:, :, 0])
        for index in torch.arange(len(task.rows)).split(PREDICTED_ROWS)
        if len(index)
    ]
    seeds = task.plan.config.seeds
    whole_SN = torch.cat(parts_SB, dim=1) if parts_SB else torch.zeros(len(seeds), 0)
    return {seed: scores.numpy() for seed, scores in zip(seeds, whole_SN.unbind(0), strict=True)}


def fit_variant(task: VariantTask, inputs: Inputs | None = None) -> dict[str, float]:
    """Learn the rows, and save the models under `task.folder`, whole or not at all.

    `inputs` are what it reads, if that is at hand. Returns figures: the mean loss.
    """
    inputs = inputs_of(task) if inputs is None else inputs
    stack, optimizers = as_it_stood(task, inputs)
    for name in BLOCK_NAMES:
        tokens = stack.module.features[name]
        tokens.observe(inputs.blocks[name])  # type: ignore[operator]
        tokens.learn()  # type: ignore[operator]
    seeds = task.plan.config.seeds
    losses = learn(task, stack, optimizers, inputs, labels_of(task), seeds)
    with new_folder(task.folder) as aside:
        save(task, aside, stack, optimizers)
    return {"loss": float(np.mean(losses)) if losses else float("nan")}


def learn(
    task: VariantTask,
    stack: Stack[Ranker],
    optimizers: Optimizers,
    inputs: Inputs,
    labels_NK: Tensor,
    seeds: Sequence[int],
) -> list[float]:
    """Learn the rows for as many epochs as the config says, each seed in an order of its own; the
    losses of all steps.

    Raises ModelError on a loss or a gradient that is not finite.
    """
    plan = task.plan
    losses: list[float] = []
    stack.module.train()
    torch.manual_seed(day_seed(plan.seed, task.day, *seeds))  # of strangers' own dropout
    drops = [module for module in stack.module.modules() if isinstance(module, SeededDropout)]
    for place, module in enumerate(drops):
        module.begin([day_seed(plan.seed, task.day, seed, place) for seed in seeds])
    for epoch in range(plan.config.epochs if len(labels_NK) else 0):
        for step, index_SB in enumerate(_orders(task, len(labels_NK), seeds, epoch)):
            logits_SBK = stack(inputs.rows, inputs.of_seeds(index_SB, stack.size))
            losses_S = _losses(plan, logits_SBK, labels_NK[index_SB])
            where = [
                f"downstream {plan.consumer}, variant {plan.variant.name}, seed {seed}, day"
                f" {task.rows.day}, batch {step}"
                for seed in seeds
            ]
            losses += optimizers.step_each(losses_S, where)
    return losses


def _orders(task: VariantTask, rows: int, seeds: Sequence[int], epoch: int) -> Iterator[Tensor]:
    """The batches [S, B] of an epoch."""
    plan = task.plan
    of_seeds = [
        batches(rows, plan.config.batch_rows, day_seed(plan.seed, task.day, seed, epoch))
        for seed in seeds
    ]
    yield from map(torch.stack, zip(*of_seeds, strict=True))


def _losses(plan: RankerPlan, logits_SBK: Tensor, labels_SBK: Tensor) -> Tensor:
    """Each seed's weighted sum of the tasks' cross-entropies, [S]."""
    return torch.stack(
        [
            weight * masked_bce(logits_SBK[:, :, task], labels_SBK[:, :, task])
            for task, weight in enumerate(plan.tasks.values())
        ]
    ).sum(0)
