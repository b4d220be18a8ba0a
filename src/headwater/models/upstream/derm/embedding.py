"""The fresh vectors of a day, and what an upstream predicts by itself. Shapes: N rows or
entities.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch

from headwater.embeddings import Space
from headwater.embeddings.daily import DailyVectors
from headwater.embeddings.snapshot import Basis
from headwater.events import Examples
from headwater.models.precision import Precision
from headwater.models.training import Optimizers, begin, feature_tensors, load_checkpoint
from headwater.models.upstream.derm.inputs import content_tensors, last_rows, tower_tensors
from headwater.models.upstream.derm.network import TowerTensors
from headwater.models.upstream.derm.plan import sizes_of
from headwater.models.upstream.derm.trainee import Trainee
from headwater.models.upstream.derm.work import DermDay

CHUNK_ROWS = 4096


def trained(task: DermDay, precision: Precision) -> Trainee:
    """The day's model, as it was saved. Raises ModelError."""
    config = task.plan.config
    begin(task.plan.seed)
    trainee = Trainee(task.plan)
    optimizers = Optimizers(
        trainee, config.learning_rate, config.id_learning_rate, config.weight_decay
    )
    load_checkpoint(task.folder, trainee, optimizers, {"signature": task.plan.signature})
    return precision.place(trainee).eval()


@torch.no_grad()
def embed_day(
    task: DermDay,
    space: Space,
    ids: Mapping[str, tuple[np.ndarray, pl.Series]],
    model: Trainee | None = None,
) -> list[DailyVectors]:
    """The fresh vectors of everyone whom the day's rows show: each entity's last row of the day,
    through its tower. Where a listing is given, everyone else whom it lists gets a vector of their
    content, and is marked so.

    `model` is the day's, if it is still in memory; else it is loaded. Raises ModelError.
    """
    precision = Precision.of(task.plan.config.device, task.plan.config.fast)
    trainee = trained(task, precision) if model is None else model
    made = []
    for entity in task.plan.entities:
        keys, vectors = _of_last_rows(task, trainee, entity, precision)
        known_keys, known_ids = ids[entity]
        assert np.array_equal(known_keys, keys)
        shown = DailyVectors(space, entity, keys, vectors, known_ids)
        listed = entity in task.listings
        made.append(_with_content(task, trainee, shown, precision) if listed else shown)
    return made


def _with_content(
    task: DermDay, trainee: Trainee, shown: DailyVectors, precision: Precision
) -> DailyVectors:
    """Those shown, and beside them everyone else who is listed, by their content."""
    listed = task.listings[shown.entity]
    others = np.flatnonzero(~np.isin(listed.keys_N, shown.keys_N))
    chunks = np.array_split(others, -(-len(others) // CHUNK_ROWS)) if len(others) else []
    parts = [shown.vectors_ND]
    for chunk in chunks:
        x = content_tensors(task.plan, listed, shown.entity, chunk)
        parts.append(_embedded(trainee, shown.entity, x, precision))
    keys, order = _joined(shown.keys_N, listed.keys_N[others])
    ids = _as_one(shown.ids, listed.ids.gather(others)).gather(order)
    seen = order < len(shown.keys_N)
    basis = np.where(seen, Basis.SEEN, Basis.CONTENT).astype(np.uint8)
    vectors = np.concatenate(parts)[order]
    return DailyVectors(shown.space, shown.entity, keys, vectors, ids, basis)


def _joined(shown: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both, disjoint, in ascending order, and where each came from."""
    both = np.concatenate([shown, others])
    order = np.argsort(both, kind="stable")
    return both[order], order


def _as_one(shown: pl.Series, others: pl.Series) -> pl.Series:
    """Ids as integers where all are and 64 signed bits hold them, else as text."""
    fit = all(
        ids.dtype.is_integer() and ids.cast(pl.Int64, strict=False).null_count() == 0
        for ids in (shown, others)
    )
    kind = pl.Int64 if fit else pl.String
    return pl.concat([shown.cast(kind).alias("id"), others.cast(kind).alias("id")])


def _of_last_rows(
    task: DermDay, trainee: Trainee, entity: str, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """Everyone whom the day's rows show, by ascending key, and the vector of their last row in
    whichever log that is.
    """
    of_logs = [last_rows(rows.keys[entity]) for rows in task.show]
    keys = np.unique(np.concatenate([found for found, _ in of_logs]))
    newest, source = np.full(len(keys), np.iinfo(np.int64).min), np.zeros(len(keys), np.int64)
    for place, (rows, (found, last)) in enumerate(zip(task.show, of_logs, strict=True)):
        spots, times = np.searchsorted(keys, found), rows.times_us_N[last]
        later = times >= newest[spots]
        newest[spots[later]], source[spots[later]] = times[later], place
    vectors = np.zeros((len(keys), sizes_of(task.plan.config).width), np.float32)
    for place, (rows, (found, last)) in enumerate(zip(task.show, of_logs, strict=True)):
        mine = source[np.searchsorted(keys, found)] == place
        spots, chosen = np.searchsorted(keys, found[mine]), last[mine]
        for low in range(0, len(chosen), CHUNK_ROWS):
            some = slice(low, low + CHUNK_ROWS)
            vectors[spots[some]] = _embedded(
                trainee,
                entity,
                tower_tensors(task.plan, rows.take(chosen[some]), entity),
                precision,
            )
    return keys, vectors


def _embedded(trainee: Trainee, entity: str, x: TowerTensors, precision: Precision) -> np.ndarray:
    with precision.autocast():
        return trainee.derm.embed(entity, precision.moved(x)).float().cpu().numpy()


@torch.no_grad()
def predict(task: DermDay, rows: Examples) -> dict[str, np.ndarray]:
    """What the upstream predicts by itself, with context: a probability, float32 [N], by task of
    the rows' log; a task that is given another is predicted under that condition.
    """
    precision = Precision.of(task.plan.config.device, task.plan.config.fast)
    trainee = trained(task, precision)
    parts: list[dict[str, np.ndarray]] = []
    for low in range(0, len(rows), CHUNK_ROWS):
        some = rows.take(np.arange(low, min(low + CHUNK_ROWS, len(rows))))
        sides = [
            precision.moved(tower_tensors(task.plan, some, entity)) for entity in ("user", "item")
        ]
        with precision.autocast():
            logits = trainee.derm(rows.log, *sides, precision.moved(feature_tensors(some.context)))[
                2
            ]
        parts.append(
            {name: torch.sigmoid(logit.float()).cpu().numpy() for name, logit in logits.items()}
        )
    return (
        {name: np.concatenate([part[name] for part in parts]) for name in task.plan.tasks[rows.log]}
        if parts
        else {}
    )
