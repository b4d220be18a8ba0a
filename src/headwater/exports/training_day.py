"""The rows of one day of a training set, as Arrow batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from headwater.embeddings.snapshot import day_number
from headwater.events import Examples
from headwater.events.cleaning import TIME
from headwater.events.log import EventDay
from headwater.events.raw import MOMENT, feature_array, plain_array
from headwater.exports.choices import entity_of
from headwater.exports.columns import days_array, labels_array

if TYPE_CHECKING:
    from headwater.exports.training_set import TrainingSet


@dataclass(frozen=True)
class TrainingDay:
    """The rows of one day, oldest first; a batch of them is made when it is asked for.

    `groups_N` are the keys of the groups of rows that compete, where they have any.
    """

    set: TrainingSet
    events: EventDay
    examples: Examples
    groups_N: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.events)

    def take(self, rows_N: np.ndarray) -> pa.RecordBatch:
        """Some rows, in the order asked for."""
        made = self.set
        keys = {entity: self.examples.keys[entity][rows_N] for entity in made.log.entities}
        columns = self._context(rows_N)
        columns += [labels_array(self.examples.labels.get(task), rows_N) for task in made.tasks]
        for entity, table in made.tables.items():
            columns += table.gather(keys[entity], self.events.day).values()
        if made.counters:
            counters_NC = self.examples.counters[made.wanted.counters][rows_N]
            columns += [pa.array(counts_N, from_pandas=True) for counts_N in counters_NC.T]
        edition = made.edition_on(self.events.day)
        columns.append(days_array(None if edition is None else day_number(edition), len(rows_N)))
        for name in made.wanted.embeddings:
            columns += made.vectors(name, keys[entity_of(name)], self.events.day)
        return pa.RecordBatch.from_arrays(columns, schema=made.schema)

    def _context(self, rows_N: np.ndarray) -> list[pa.Array]:
        """Times, days, groups, ids and context features, as the log has them."""
        schema = self.set.schema
        log = self.set.log
        zone = self.set.config.zone
        frame = self.events.frame[rows_N]
        ids = [
            plain_array(frame[name], schema.field(name).type)
            for name in dict.fromkeys(log.entities.values())
        ]
        features = [
            feature_array(
                frame[name],
                log.features[name],
                schema.field(column).type,
                zone,
                f"log {log.name}",
            )
            for name, column in self.set.context.items()
        ]
        times = frame[TIME].to_arrow().cast(MOMENT)
        days = days_array(day_number(self.events.day), len(rows_N))
        groups = [] if self.groups_N is None else [pa.array(self.groups_N[rows_N], pa.uint64())]
        return [times, days, *groups, *ids, *features]
