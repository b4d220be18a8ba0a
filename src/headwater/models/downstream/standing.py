"""Where a variant's rankers stand: one file for all its seeds, with what the optimisers remember.

Shape suffix: S seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from headwater.errors import ModelError
from headwater.models.downstream.inputs import Inputs
from headwater.models.downstream.networks import RANKERS, Ranker
from headwater.models.downstream.plan import RankerPlan, VariantTask
from headwater.models.training import Optimizers, load_checkpoint, save_checkpoint
from headwater.nn import Stack

CHECKPOINT = "rankers"
TRIED_ROWS = 32


def save(task: VariantTask, folder: Path, stack: Stack[Ranker], optimizers: Optimizers) -> None:
    """Write down where the rankers of a task stand after its day."""
    meta = {
        "signature": task.plan.signature,
        "day": str(task.day),
        "fingerprint": task.fingerprint,
        "seeds": list(task.plan.config.seeds),
    }
    save_checkpoint(folder, stack.module, optimizers, meta, name=CHECKPOINT)


def as_it_stood(task: VariantTask, inputs: Inputs) -> tuple[Stack[Ranker], Optimizers]:
    """The rankers and their optimisers as they were after the last day that was learnt.

    Raises ModelError where what was saved cannot be read, is of other settings, or lacks a seed.
    """
    plan, seeds = task.plan, task.plan.config.seeds
    if task.before is None:
        stack, optimizers = plan.build(seeds)
    else:
        stack, optimizers = _saved(plan, task.before)
    if type(stack.module) not in RANKERS.values() and len(task.rows):
        # a stranger's; ours are held to it by tests
        some = torch.arange(min(TRIED_ROWS, len(task.rows)))
        stack.try_at_once(inputs.rows, some.expand(len(seeds), -1))
    return stack, optimizers


def _saved(plan: RankerPlan, folder: Path) -> tuple[Stack[Ranker], Optimizers]:
    """The seeds of the plan, of those that were saved."""
    seeds, learnt = plan.config.seeds, _seeds_in(folder)
    lost = [seed for seed in seeds if seed not in learnt]
    if lost:
        raise ModelError(
            f"{folder}: holds the rankers of the seeds {learnt}, not of {lost}. A seed that begins"
            " later cannot be compared: put the seeds back, or give the factory a new warehouse."
        )
    stack, optimizers = plan.build(learnt)
    known = {"signature": plan.signature}
    load_checkpoint(folder, stack.module, optimizers, known, name=CHECKPOINT)
    if learnt == seeds:
        return stack, optimizers
    fewer, theirs = plan.build(seeds)
    places = [learnt.index(seed) for seed in seeds]
    fewer.take(stack, places)
    theirs.restore(
        {
            name: value if name.startswith("adam.step.") else value[places]
            for name, value in optimizers.state().items()
        }
    )
    return fewer, theirs


def _seeds_in(folder: Path) -> tuple[int, ...]:
    path = folder / f"{CHECKPOINT}.json"
    try:
        return tuple(json.loads(path.read_text())["seeds"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path}: cannot be read ({error}). Run that day again with --replace."
        ) from error
