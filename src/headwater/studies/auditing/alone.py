"""Whether one feature alone tells the label: each that models read of a judged row, as they read
it. Shapes: N rows, K codes of a cell, D numbers of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from headwater.evaluation.alone import (
    FEWEST,
    NOTED_AUC,
    REFUSED_AUC,
    Alone,
    CellsAlone,
    CodesAlone,
    NumbersAlone,
)
from headwater.events import Block, Examples
from headwater.events.moments import NUMBERS, readings
from headwater.schema import (
    Categorical,
    Entity,
    Feature,
    History,
    Log,
    MultiCategorical,
    Numeric,
    Timestamp,
    Vector,
)
from headwater.studies.auditing.findings import Finding

ROWS = 200_000  # judged rows looked at, at most; of more they are evenly spread over each day
QUARTERS = 4  # stretches of a day, each scored by what the rows before it show
MOST_NUMBERS = 256  # of a wider vector only its length, and whether it is there


@dataclass(frozen=True)
class Column:
    """A feature's values as models read them: codes [N] or [N, K], or numbers [N, D] of which NaN
    are missing.
    """

    values: np.ndarray
    kind: type[Feature]

    def alone(self) -> Alone:
        """What takes it in."""
        if self.kind is Categorical:
            return CodesAlone()
        if self.kind is MultiCategorical:
            return CellsAlone()
        return NumbersAlone(self.values.shape[1], bins=self.kind is not Vector)


class FeaturesAlone:
    """The features of a log's rows, day by day in the order of time: its own, those of its
    entities, and what its histories count. `histories` are by the name that they are declared
    under.
    """

    def __init__(
        self,
        log: Log,
        entities: Mapping[str, Entity],
        histories: Mapping[str, History],
        judged_days: int,
    ) -> None:
        self._log = log
        self._entities = entities
        self._histories = histories
        self._most_rows = max(1, ROWS // judged_days)
        self._alone: dict[str, Alone] = {}
        self._judged = 0
        self._looked_at = 0
        self._positives = 0

    def add(self, rows: Examples, labels_N: np.ndarray, judged: bool) -> None:
        """A day's rows that have a label."""
        spread = np.linspace(0, len(rows) - 1, min(len(rows), self._most_rows))
        chosen = np.unique(spread.astype(np.int64))
        if judged:
            self._judged += len(rows)
            self._looked_at += len(chosen)
            self._positives += int((labels_N[chosen] == 1).sum())
        parts = [part for part in np.array_split(chosen, QUARTERS) if len(part)]
        for name, column in self._columns(rows):
            alone = self._alone.setdefault(name, column.alone())
            for part in parts:
                alone.add(labels_N[part], column.values[part], judged)

    def findings(self) -> Iterator[Finding]:
        """One for each feature; one for all where the judged rows are too few to tell."""
        if min(self._positives, self._looked_at - self._positives) < FEWEST:
            reason = (
                "no feature was measured alone: the judged rows have fewer than"
                f" {FEWEST} positives, or negatives"
            )
            yield Finding.unchecked(f"logs.{self._log.name}", reason)
            return
        for name, alone in self._alone.items():
            yield self._about(name, alone.auc(), alone.auc(surely=True))

    def _about(self, name: str, auc: float, surely: float) -> Finding:
        of = ""
        if self._looked_at < self._judged:
            of = f" of {self._judged:,}, evenly spread over each day,"
        reason = (
            f"alone tells the label with ROC-AUC {auc:.4f} ({self._looked_at:,}{of} judged rows);"
            f" allowed {REFUSED_AUC}"
        )
        passed, noted = surely <= REFUSED_AUC, surely > NOTED_AUC
        if not passed:
            reason += ": it was measured after what it is to predict, or made of it"
        elif auc > NOTED_AUC and not noted:
            reason += "; the rows are too few to tell it from chance"
        return Finding(name, round(auc, 4), REFUSED_AUC, passed, reason, noted=noted)

    # ---- what models read ------------------------------------------------------------------------

    def _columns(self, rows: Examples) -> Iterator[tuple[str, Column]]:
        log = self._log
        for name, column in columns_of(log.features, rows.context, context=True):
            yield f"logs.{log.name}.{name}", column
        yield from self._of_pairs(rows)
        yield from self._of_counters(rows)
        for entity, spec in self._entities.items():
            for name, column in columns_of(spec.features, rows.entities[entity], context=False):
                yield f"{entity}.{name}", column

    def _of_pairs(self, rows: Examples) -> Iterator[tuple[str, Column]]:
        """The numbers of the pair, which stand after all others of the context."""
        numbers_NF = rows.context.numeric_NF
        widths = [2 + len(history.actions) for history in self._histories.values()]
        first = numbers_NF.shape[1] - sum(
            width * len(history.pairs)
            for width, history in zip(widths, self._histories.values(), strict=True)
        )
        for (name, history), width in zip(self._histories.items(), widths, strict=True):
            for feature in history.pairs:
                values = numbers_NF[:, first : first + width]
                yield f"histories.{name}.pairs.{feature}", Column(values, Numeric)
                first += width

    def _of_counters(self, rows: Examples) -> Iterator[tuple[str, Column]]:
        both = np.stack([rows.counters[scope] for scope in ("log", "full")], axis=1)
        first = 0
        for name, history in self._histories.items():
            width = 2 + len(history.actions)
            values = both[:, :, first : first + width].reshape(len(both), -1)
            yield f"histories.{name}.counters", Column(values, Numeric)
            first += width


def columns_of(
    features: Mapping[str, Feature], block: Block, context: bool
) -> Iterator[tuple[str, Column]]:
    """The columns of a block by the feature that they encode, in the order of `BlockSpec.of`."""
    codes = iter(block.categorical_NC.T)
    cells, vectors = iter(block.multi_NK), iter(block.vectors_ND)
    number = 0
    moment = sum(isinstance(kind, Numeric) for kind in features.values())
    for name, kind in features.items():
        if isinstance(kind, Categorical):
            yield name, Column(next(codes), Categorical)
        elif isinstance(kind, MultiCategorical):
            yield name, Column(next(cells), MultiCategorical)
        elif isinstance(kind, Vector):
            yield name, Column(_of_vector(next(vectors)), Vector)
        elif isinstance(kind, Timestamp):
            width = sum(NUMBERS[reading] for reading in readings(kind, context))
            yield name, Column(block.numeric_NF[:, moment : moment + width], Timestamp)
            moment += width
        else:
            yield name, Column(block.numeric_NF[:, number : number + 1], Numeric)
            number += 1


def _of_vector(vectors_ND: np.ndarray) -> np.ndarray:
    """The length of each vector (NaN: it is missing), and its numbers where they are few."""
    length_N1 = np.sqrt((vectors_ND**2).sum(axis=1, keepdims=True))
    few = vectors_ND.shape[1] <= MOST_NUMBERS
    return np.hstack([length_N1, vectors_ND]) if few else length_N1
