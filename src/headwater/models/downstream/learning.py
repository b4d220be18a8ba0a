"""One variant's day: predict the day's rows with the weights of the day before, then learn them.

Of embeddings it reads only what was served. Shape suffixes: N rows, B rows of a batch, K tasks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from headwater.files import new_folder
from headwater.models.downstream.inputs import Inputs, inputs_of, labels_of
from headwater.models.downstream.networks import BLOCK_NAMES, Ranker
from headwater.models.downstream.plan import RankerJob, RankerPlan, VariantTask
from headwater.models.training import (
    Optimizers,
    batches,
    day_seed,
    load_checkpoint,
    save_checkpoint,
)
from headwater.nn import masked_bce

PREDICTED_ROWS = 4096  # at once


def predict_day(job: RankerJob) -> dict[int, np.ndarray]:
    """See `predict_variant`."""
    return predict_variant(job.to_predict())


def learn_day(job: RankerJob) -> None:
    """See `fit_variant`."""
    fit_variant(job.to_learn())


@torch.no_grad()
def predict_variant(task: VariantTask) -> dict[int, np.ndarray]:
    """Probabilities, float32 [N], for the rows by each seed's model as it stood before the day."""
    scores = {}
    inputs = inputs_of(task)
    for seed, ranker, _ in _models(task):
        ranker.eval()
        own = inputs.of_seed(task, seed)
        parts = [
            torch.sigmoid(ranker(*own.rows(index))[:, 0])
            for index in torch.arange(len(task.rows)).split(PREDICTED_ROWS)
        ]
        scores[seed] = torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
    return scores


def fit_variant(task: VariantTask) -> dict[str, float]:
    """Learn the rows, and save every seed's model under `task.folder`, whole or not at all.

    Returns figures: the mean loss.
    """
    inputs = inputs_of(task)
    labels_NK = labels_of(task)
    meta = {
        "signature": task.plan.signature,
        "day": str(task.day),
        "fingerprint": task.fingerprint,
    }
    losses: list[float] = []
    with new_folder(task.folder) as aside:
        for seed, ranker, optimizers in _models(task):
            for name in BLOCK_NAMES:
                ranker.features[name].observe(inputs.blocks[name])  # type: ignore[operator]
                ranker.features[name].learn()  # type: ignore[operator]
            own = inputs.of_seed(task, seed)
            losses += learn(task, ranker, optimizers, own, labels_NK, seed)
            save_checkpoint(aside, ranker, optimizers, meta, name=f"seed-{seed}")
    return {"loss": float(np.mean(losses)) if losses else float("nan")}


def learn(
    task: VariantTask,
    ranker: Ranker,
    optimizers: Optimizers,
    inputs: Inputs,
    labels_NK: Tensor,
    seed: int,
) -> list[float]:
    """Learn the rows for as many epochs as the config says; the loss of each step.

    Raises ModelError on a loss or a gradient that is not finite.
    """
    plan = task.plan
    batch_rows = plan.config.batch_rows
    losses: list[float] = []
    ranker.train()
    torch.manual_seed(day_seed(plan.seed, task.day, seed))
    for epoch in range(plan.config.epochs if len(labels_NK) else 0):
        order = batches(len(labels_NK), batch_rows, day_seed(plan.seed, task.day, seed, epoch))
        for step, index in enumerate(order):
            loss = _loss(plan, ranker(*inputs.rows(index)), labels_NK[index])
            where = (
                f"downstream {plan.consumer}, variant {plan.variant.name}, seed {seed}, day"
                f" {task.rows.day}, batch {step}"
            )
            losses.append(optimizers.step(loss, where))
    return losses


def _loss(plan: RankerPlan, logits_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """Weighted sum of the tasks' cross-entropies."""
    return torch.stack(
        [
            weight * masked_bce(logits_BK[:, task], labels_BK[:, task])
            for task, weight in enumerate(plan.tasks.values())
        ]
    ).sum()


def _models(task: VariantTask) -> Iterator[tuple[int, Ranker, Optimizers]]:
    """Every seed's ranker and optimisers, as they stood after the last day that was learnt."""
    signature = {"signature": task.plan.signature}
    for seed in task.plan.config.seeds:
        ranker, optimizers = task.plan.build(seed)
        if task.before is not None:
            load_checkpoint(task.before, ranker, optimizers, signature, name=f"seed-{seed}")
        yield seed, ranker, optimizers
