"""A training set as tensors, for models in PyTorch that are not ours.

Shapes: B rows of a batch, D width of a vector, K length of a sequence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from headwater.errors import ConfigError
from headwater.events.encoding import encode
from headwater.events.times import US_PER_DAY
from headwater.exports.columns import GROUP
from headwater.exports.training_day import TrainingDay
from headwater.exports.training_set import TrainingSet
from headwater.ids import keys_of
from headwater.schema import Categorical, MultiCategorical, Numeric, Timestamp, Vector

Batch = dict[str, torch.Tensor]


class TrainingRows(IterableDataset[Batch]):
    """The rows of a TrainingSet, as batches of tensors by column name.

    A batch holds rows of one day, and these columns:

    - ids and `group_key`: their 64-bit keys, int64 [B]
    - `time`: microseconds since 1970 (UTC), int64 [B]; `day`: days since 1970, int64 [B]
    - labels and counters: float32 [B], NaN where there is none
    - categorical features: slots, int64 [B]; multi-categorical ones: slots, int64 [B, length]. Of
      a kind there are `events.blocks.slots(kind)`; 0 stands for missing.
    - numeric features, on their log scale if declared: float32 [B]; vectors: float32 [B, D];
      timestamps: days before the row, float32 [B]. NaN stands for missing.
    - embedding NAME: float32 [B, D]; or its sequence, newest first: float32 [B, K, D], with
      `NAME_steps`, int64 [B]. Zeros stand where it is absent: see `NAME_found`, bool [B].
    - `NAME_age_days`: float32 [B], NaN where the embedding is absent

    With workers, whole days are dealt out to them. With a `seed`, the rows of each day are
    shuffled, always in the same way.
    """

    def __init__(self, rows: TrainingSet, batch_rows: int = 1024, seed: int | None = None) -> None:
        if batch_rows < 1:
            raise ConfigError(
                f"TrainingRows: batch_rows should be at least 1. Received: {batch_rows}."
            )
        self.rows = rows
        self.batch_rows = batch_rows
        self.seed = seed

    def __iter__(self) -> Iterator[Batch]:
        for day in self._days_of_this_worker():
            rows = self.rows.day(day)
            order = self._order(day, len(rows))
            for low in range(0, len(rows), self.batch_rows):
                yield tensors(rows, order[low : low + self.batch_rows])

    def loader(self, workers: int = 0) -> DataLoader[Batch]:
        """A DataLoader over the batches.

        Its workers are spawned: forked ones would inherit the locks of the threads that read the
        log.
        """
        return DataLoader(
            self,
            batch_size=None,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )

    def _days_of_this_worker(self) -> tuple[dt.date, ...]:
        worker = get_worker_info()
        if worker is None:
            return self.rows.days
        return self.rows.days[worker.id :: worker.num_workers]

    def _order(self, day: dt.date, n: int) -> np.ndarray:
        if self.seed is None:
            return np.arange(n)
        return np.random.default_rng([self.seed, day.toordinal()]).permutation(n)


def tensors(day: TrainingDay, rows_B: np.ndarray) -> Batch:
    """Some rows of a day, by column; see TrainingRows."""
    made = day.set
    batch = day.take(rows_B)
    whole = {
        "time": batch["time"].cast(pa.int64()),
        "day": batch["day"].cast(pa.int32()).cast(pa.int64()),
    }
    out = {name: torch.from_numpy(column.to_numpy().copy()) for name, column in whole.items()}
    if made.has_groups:
        out[GROUP] = torch.from_numpy(batch[GROUP].to_numpy().view(np.int64).copy())
    for column in made.log.entities.values():
        out[column] = torch.from_numpy(keys_of(pl.Series(batch[column])).view(np.int64).copy())
    for name in (*made.tasks, *made.counters):
        out[name] = torch.from_numpy(_numbers(batch[name]))
    out |= _features(made, batch)
    for name in made.wanted.embeddings:
        out |= _vectors(made, batch, name)
    return out


def _features(made: TrainingSet, batch: pa.RecordBatch) -> Batch:
    """The features' columns, encoded as the factory's own models read them; timestamps as ages."""
    frame = pl.DataFrame({column: pl.Series(batch[column]) for column in made.kinds})
    block = encode(frame, made.kinds, "training set", made.config.zone.key)
    encoded: dict[type, Iterable[np.ndarray]] = {
        Categorical: block.categorical_NC.T,
        MultiCategorical: block.multi_NK,
        Numeric: block.numeric_NF.T,
        Vector: block.vectors_ND,
    }
    out: Batch = {}
    for of_kind, arrays in encoded.items():
        columns = [column for column, kind in made.kinds.items() if isinstance(kind, of_kind)]
        out |= {
            column: torch.from_numpy(np.ascontiguousarray(values))
            for column, values in zip(columns, arrays, strict=True)
        }
    times_B = batch["time"].cast(pa.int64()).to_numpy()
    for column in [column for column, kind in made.kinds.items() if isinstance(kind, Timestamp)]:
        ages_B = (times_B - _numbers(batch[column].cast(pa.int64()), np.float64)) / US_PER_DAY
        out[column] = torch.from_numpy(ages_B.astype(np.float32))
    return out


def _vectors(made: TrainingSet, batch: pa.RecordBatch, name: str) -> Batch:
    """The columns of an embedding."""
    width = made.spaces[name].width
    column = batch[name]
    found_B = batch[f"{name}_found"].to_numpy(zero_copy_only=False)
    out = {
        f"{name}_found": torch.from_numpy(found_B.copy()),
        f"{name}_age_days": torch.from_numpy(_numbers(batch[f"{name}_age_days"])),
    }
    if not made.depth:
        vectors_BD = np.nan_to_num(_numbers(column.flatten()).reshape(-1, width))
        return out | {name: torch.from_numpy(vectors_BD)}
    steps_B = np.diff(column.offsets.to_numpy())
    filled_BK = np.arange(made.depth) < steps_B[:, None]
    sequence_BKD = np.zeros((len(column), made.depth, width), np.float32)
    sequence_BKD[filled_BK] = column.flatten().flatten().to_numpy().reshape(-1, width)
    return out | {
        name: torch.from_numpy(sequence_BKD),
        f"{name}_steps": torch.from_numpy(steps_B.astype(np.int64)),
    }


def _numbers(column: pa.Array, dtype: type = np.float32) -> np.ndarray:
    """The numbers of a column; NaN where it is null."""
    return np.array(column.to_numpy(zero_copy_only=False), dtype)
