"""One upstream's day of learning: go on from yesterday's checkpoint, learn the rows whose labels
matured, save whole or not at all.

A day is a fixed list of batches, made from its seed before the first is learnt. That is why a run
that was killed can go on from the last checkpoint within the day and end with the very bytes of an
undisturbed one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.embeddings.daily import Training
from headwater.errors import ModelError
from headwater.events import Examples
from headwater.files import new_folder, read_json
from headwater.models.loading import ahead
from headwater.models.precision import Precision
from headwater.models.training import (
    WHAT_TO_DO,
    Optimizers,
    begin,
    day_seed,
    feature_tensors,
    id_slots,
    is_whole,
    load_checkpoint,
    save_checkpoint,
    seeded,
    shuffled,
)
from headwater.models.upstream.derm.inputs import OBSERVED_ROWS, last_rows, tower_tensors
from headwater.models.upstream.derm.network import TowerTensors
from headwater.models.upstream.derm.plan import DermPlan, sizes_of
from headwater.models.upstream.derm.trainee import Trainee
from headwater.models.upstream.derm.work import DermDay
from headwater.nn import (
    FeatureTensors,
    Negatives,
    contrastive_loss,
    masked_bce,
    mixed_log_q,
    whole_space_bce,
)

WITHIN = "within"  # the folder, beside the day's own, of the last checkpoint within it
CURVE_POINTS = 100
USUAL_STEPS = 50  # so many losses tell what is usual


@dataclass(frozen=True)
class Step:
    """A batch to learn: which rows of which of the day's parts."""

    part: int
    rows_B: np.ndarray


@dataclass(frozen=True)
class Batch:
    """What a step reads."""

    log: str
    towers: Mapping[str, TowerTensors]
    context: FeatureTensors
    labels: Mapping[str, Tensor]
    item_slots_B: Tensor
    item_keys_B: Tensor
    pool: tuple[TowerTensors, Tensor, Tensor, int] | None


@dataclass(frozen=True)
class Part:
    """Examples of one log and day, those of their rows that have a label, and the last row of each
    item that exists: what uniform negatives are drawn from.
    """

    examples: Examples
    rows_N: np.ndarray
    items_I: np.ndarray

    def __len__(self) -> int:
        return len(self.rows_N)


def parts_of(task: DermDay) -> list[Part]:
    """What a day learns. A task over the whole space is learnt on every row: where it is not
    defined, it did not happen.
    """
    parts = []
    for examples in task.learn:
        everywhere = any(name in task.plan.config.whole_space for name in examples.labels)
        rows_N = (
            np.arange(len(examples))
            if everywhere
            else examples.rows_defined(tuple(examples.labels))
        )
        items_I = rows_N[:0]
        if task.plan.config.uniform_negatives:
            keys, last = last_rows(examples.keys["item"])
            items_I = last[~np.isin(keys, task.items_to_come_M)]
        if len(rows_N):
            parts.append(Part(examples, rows_N, items_I))
    return parts


def steps_of(plan: DermPlan, parts: Sequence[Part], seed: int) -> list[Step]:
    """The day's batches in order. Of each log its rows, oldest part first, shuffled within a part;
    several logs are woven evenly together and, where they are balanced, those of fewer rows are
    gone through again.
    """
    steps: list[Step] = []
    for epoch in range(plan.config.epochs):
        of_logs: dict[str, list[Step]] = {}
        for place, part in enumerate(parts):
            of_logs.setdefault(part.examples.log, []).extend(
                _pass(plan, place, part.rows_N, seed, epoch)
            )
        if plan.config.balance == "equal" and len(of_logs) > 1:
            most = max(map(len, of_logs.values()))
            for found in of_logs.values():
                again, once = 1, dict.fromkeys(step.part for step in found)
                while len(found) < most:
                    for place in once:
                        found += _pass(plan, place, parts[place].rows_N, seed, epoch, again)
                    again += 1
                del found[most:]
        places = [
            ((place + 0.5) / len(found), order, place)
            for order, found in enumerate(of_logs.values())
            for place in range(len(found))
        ]
        listed = list(of_logs.values())
        steps += [listed[order][place] for _, order, place in sorted(places)]
    return steps


def _pass(
    plan: DermPlan, place: int, rows_N: np.ndarray, seed: int, epoch: int, again: int = 0
) -> Iterator[Step]:
    for picked in shuffled(
        len(rows_N), sizes_of(plan.config).batch_rows, seeded(seed, epoch, place, again)
    ):
        yield Step(place, rows_N[picked])


def fit_day(task: DermDay) -> Trainee:
    """Learn and save under `task.folder`, whole or not at all; returns the model as it was saved.
    Killed, the next call goes on from the last checkpoint within the day.

    Raises ModelError on a loss that is not finite or explodes; what was saved before stays as it
    is.
    """
    plan, config = task.plan, task.plan.config
    begin(plan.seed)
    precision = Precision.of(config.device, config.fast)
    trainee = precision.place(Trainee(plan))
    optimizers = Optimizers(
        trainee, config.learning_rate, config.id_learning_rate, config.weight_decay
    )
    parts = parts_of(task)
    steps = steps_of(plan, parts, day_seed(plan.seed, task.day))
    if precision.fast:
        compile_where_it_pays(trainee, sum(len(step.rows_B) for step in steps))
    within = task.folder.with_name(f"{task.folder.name}.{WITHIN}")
    meta, losses = _go_on(task, within, trainee, optimizers, parts, precision)
    done = len(losses)
    trainee.train()
    with ahead(
        batch_of(task, parts, step, number, precision)
        for number, step in enumerate(steps)
        if number >= done
    ) as loaded:
        for number, batch in enumerate(loaded, start=done):
            where = (
                f"upstream {plan.name}, day {task.day}, log {batch.log}, batch {number} of"
                f" {len(steps)}"
            )
            loss = loss_of(plan, trainee, batch, precision)
            losses.append(optimizers.step(loss, where))
            _refuse_explosion(losses, config.exploding, where)
            if len(losses) % config.checkpoint_steps == 0 and len(losses) < len(steps):
                so_far = {"losses": losses, "random": torch.get_rng_state().tolist()}
                with new_folder(within) as aside:
                    save_checkpoint(aside, trainee, optimizers, meta | so_far)
    trainee.eval()
    meta["training"] = _training(trainee, losses).as_json()
    with new_folder(task.folder) as aside:
        save_checkpoint(aside, trainee, optimizers, meta)
    shutil.rmtree(within, ignore_errors=True)
    return trainee


def _training(trainee: Trainee, losses: Sequence[float]) -> Training:
    learnt = trainee.derm.log_temperature is not None
    temperature = torch.as_tensor(trainee.derm.temperature).detach()
    return Training(
        loss=float(np.mean(losses)) if losses else None,
        steps=len(losses),
        total_steps=trainee.steps,
        curve=_curve(losses),
        temperature=float(temperature) if learnt else None,
    )


def _go_on(
    task: DermDay,
    within: Path,
    trainee: Trainee,
    optimizers: Optimizers,
    parts: Sequence[Part],
    precision: Precision,
) -> tuple[dict[str, Any], list[float]]:
    """Load where to go on from: the last checkpoint within the day, yesterday's, or nothing.
    Returns what is to be saved beside the weights, and the losses of the steps already done.
    """
    plan = task.plan
    meta: dict[str, Any] = {
        "signature": plan.signature,
        "day": str(task.day),
        "first_day": str(task.day),
        "fingerprint": task.fingerprint,
    }
    if is_whole(within) and read_json(within / "model.json")["fingerprint"] == task.fingerprint:
        saved = load_checkpoint(within, trainee, optimizers, meta)
        torch.set_rng_state(torch.tensor(saved["random"], dtype=torch.uint8))
        return meta | {"first_day": saved["first_day"]}, list(saved["losses"])
    if task.before is not None:
        meta["first_day"] = load_checkpoint(task.before, trainee, optimizers, meta)["first_day"]
    torch.manual_seed(day_seed(plan.seed, task.day))
    observe(plan, trainee, parts, precision)
    return meta, []


def _refuse_explosion(losses: Sequence[float], times: float, where: str) -> None:
    """Raise ModelError where the last loss is so many times the mean of those before it."""
    before = losses[-1 - USUAL_STEPS : -1]
    if len(before) == USUAL_STEPS and losses[-1] > times * (abs(float(np.mean(before))) + 1e-3):
        raise ModelError(
            f"{where}: the loss is {losses[-1]:.4g}, usual is {np.mean(before):.4g}. {WHAT_TO_DO}"
            " Where such a loss is usual, raise `exploding`."
        )


def _curve(losses: Sequence[float]) -> tuple[tuple[int, float], ...]:
    """At most a hundred points: the last step and the mean loss of each stretch."""
    if not losses:
        return ()
    stretches = np.array_split(np.arange(len(losses)), min(CURVE_POINTS, len(losses)))
    return tuple(
        (int(stretch[-1]) + 1, float(np.mean([losses[step] for step in stretch])))
        for stretch in stretches
    )


def observe(plan: DermPlan, trainee: Trainee, parts: Sequence[Part], precision: Precision) -> None:
    """Let scales, ranks and vocabularies take in past rows, before they are learnt."""
    tokens = trainee.derm.feature_tokens()
    for part in parts:
        for low in range(0, len(part), OBSERVED_ROWS):
            rows = part.examples.take(part.rows_N[low : low + OBSERVED_ROWS])
            for entity in plan.entities:
                tokens[entity].observe(precision.moved(feature_tensors(rows.entities[entity])))
            if plan.config.overtower:
                tokens["@" + rows.log].observe(precision.moved(feature_tensors(rows.context)))
    for found in tokens.values():
        found.learn()


def batch_of(
    task: DermDay, parts: Sequence[Part], step: Step, number: int, precision: Precision
) -> Batch:
    plan, part, pool = task.plan, parts[step.part], None
    config, rows = plan.config, part.examples.take(step.rows_B)
    if config.uniform_negatives and len(part.items_I):
        generator = np.random.default_rng(day_seed(plan.seed, task.day, number))
        most = min(config.uniform_negatives, len(part.items_I))
        drawn = generator.choice(len(part.items_I), most, replace=False)
        others = part.examples.take(part.items_I[drawn])
        slots = torch.from_numpy(id_slots(others.keys["item"], sizes_of(config).id_buckets))
        pool = (
            tower_tensors(plan, others, "item"),
            slots,
            torch.from_numpy(others.keys["item"].astype(np.int64)),
            len(part.items_I),
        )
    batch = Batch(
        rows.log,
        {name: tower_tensors(plan, rows, name) for name in plan.entities},
        feature_tensors(rows.context),
        {
            task: torch.from_numpy(rows.labels[task])
            for task in plan.tasks[rows.log]
            if task in rows.labels
        },
        torch.from_numpy(id_slots(rows.keys["item"], sizes_of(config).id_buckets)),
        torch.from_numpy(rows.keys["item"].astype(np.int64)),
        pool,
    )
    return precision.moved(batch)


def loss_of(plan: DermPlan, trainee: Trainee, batch: Batch, precision: Precision) -> Tensor:
    """Supervised losses of all tasks, and the contrastive loss over their positives, in float32;
    takes the batch into the frequency estimate.
    """
    config, derm, more = plan.config, trainee.derm, None
    frequency = trainee.frequency_of(batch.log)
    log_q = frequency.observe(batch.item_slots_B)
    with precision.autocast():
        user, item, logits = derm(
            batch.log, batch.towers["user"], batch.towers["item"], batch.context
        )
        if config.contrastive_weight > 0 and batch.pool is not None:
            others, slots, keys, size = batch.pool
            more = Negatives(
                derm.embed("item", others),
                keys,
                mixed_log_q(frequency.log_q(slots), len(keys), size),
            )
    losses = []
    for task, label in batch.labels.items():
        if task in config.whole_space:
            losses.append(whole_space_bce(logits[plan.given[task]], logits[task], label))
        else:
            losses.append(masked_bce(logits[task], label))
    loss = torch.stack(losses).sum()
    if config.contrastive_weight > 0:
        if batch.pool is not None:
            log_q = mixed_log_q(log_q, len(batch.pool[2]), batch.pool[3])
        for label in batch.labels.values():
            loss = loss + config.contrastive_weight / len(batch.labels) * contrastive_loss(
                user, item, batch.item_keys_B, label == 1, log_q, derm.temperature, more
            )
    return loss


COMPILE_FROM_ROWS = 3_000_000


def compile_where_it_pays(trainee: Trainee, rows: int) -> None:
    """Compiling costs half a minute or more, and gives back a fifth of a step: only a day of many
    rows pays for it.
    """
    if rows >= COMPILE_FROM_ROWS:
        for module in [*trainee.derm.towers.values(), *trainee.derm.over]:
            if hasattr(module, "dhen"):
                module.dhen.compile(dynamic=True)
