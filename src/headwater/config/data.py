"""What a factory reads: logs and their features, entities, histories, tasks."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from headwater.config.base import LATER, RUNNING, Duration, Strict, distinct

Reading = Literal["cycles", "age", "recency"]
TimeUnit = Literal["s", "ms", "us", "ns"]
SECONDS_PER_DAY = 86_400


def _booleans_as_text(values: Any) -> Any:
    """`[true, false]` as a column of booleans spells them.

    Taken for integers they would match nothing.
    """
    if not isinstance(values, list | tuple):
        return values
    return [str(value).lower() if isinstance(value, bool) else value for value in values]


class Categorical(Strict):
    """One value out of many.

    It is hashed into `buckets`, looked up in `values` (all others share one slot), or in a
    `vocabulary` of so many that each model learns day by day: what came at least `min_count` times
    on a past day gets a slot, all else shares one.
    """

    kind: Literal["categorical"] = "categorical"
    buckets: int = Field(1000, ge=1, le=1 << 27)
    values: (
        Annotated[
            tuple[str | int, ...], BeforeValidator(_booleans_as_text), AfterValidator(distinct)
        ]
        | None
    ) = Field(None, min_length=1)
    vocabulary: int | None = Field(None, ge=1, le=1 << 27)
    min_count: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Categorical:
        if self.values is not None and self.vocabulary is not None:
            raise ValueError(
                "values and vocabulary are two ways to give values their slots; set one of them"
            )
        return self


class MultiCategorical(Strict):
    """Several values in one cell, of which the first `length` are read.

    The cell is a list, or text split at `separator`.
    """

    kind: Literal["multi_categorical"] = "multi_categorical"
    buckets: int = Field(1000, ge=1, le=1 << 27)
    separator: str = Field(",", min_length=1)
    length: int = Field(8, ge=1, le=256)


class Numeric(Strict):
    """A number; `log` takes sign(x) log(1 + |x|).

    It is centred and scaled by what past days have shown or, by `quantile`, read as its rank among
    what they have shown.
    """

    kind: Literal["numeric"] = "numeric"
    log: bool = True
    scale: Literal["standard", "quantile"] = "standard"


class Timestamp(Strict):
    """A moment, `read` in one or more ways.

    As the hour and weekday it fell on (`cycles`), as whole days from it to the beginning of the
    event's day (`age`), or as the time from it to the event (`recency`). By default, of an entity
    its age, of a log cycles. A later moment counts as missing.
    """

    kind: Literal["timestamp"] = "timestamp"
    unit: TimeUnit = "ms"
    read: Annotated[tuple[Reading, ...], AfterValidator(distinct)] | None = Field(
        None, min_length=1
    )


class Vector(Strict):
    """A pretrained vector of `width` numbers."""

    kind: Literal["vector"] = "vector"
    width: int = Field(ge=1, le=8192)


Feature = Categorical | MultiCategorical | Numeric | Timestamp | Vector
FEATURE_KINDS = ("categorical", "multi_categorical", "numeric", "timestamp", "vector")


def _expand_shorthand(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


FeatureField = Annotated[
    Annotated[Feature, Field(discriminator="kind")],
    BeforeValidator(_expand_shorthand),
]
Features = dict[str, FeatureField]


class LogConfig(Strict):
    """A table of timed events."""

    path: str | tuple[str, ...] = Field(json_schema_extra=RUNNING)
    time: str
    time_unit: TimeUnit = "ms"
    entities: dict[str, str] = Field(default_factory=dict)
    features: Features = Field(default_factory=dict)
    event_id: str | None = None
    max_reject_share: float = Field(0.05, ge=0, le=1, json_schema_extra=RUNNING)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path


class EntityConfig(Strict):
    """A kind of entity, and the table of what is known of it.

    `as_of`: the table holds nothing that was not known at the end of that day (docs/leaks.md).
    `exists_from`: the column with the moment from which each entity exists; it has no vector
    before. Where nothing is told, an entity exists from its first sight in a log. Integers count
    `exists_from_unit`s since 1970 (by default the unit of the timestamp feature that is this
    column, else ms).
    """

    table: str | tuple[str, ...] | None = Field(None, json_schema_extra=RUNNING)
    key: str | None = None
    as_of: dt.date | None = Field(None, json_schema_extra=RUNNING)
    exists_from: str | None = Field(None, json_schema_extra=LATER)
    exists_from_unit: TimeUnit | None = Field(None, json_schema_extra=LATER)
    features: Features = Field(default_factory=dict)

    @property
    def exists_unit(self) -> str:
        """What integers in `exists_from` count."""
        feature = self.features.get(self.exists_from or "")
        declared = feature.unit if isinstance(feature, Timestamp) else "ms"
        return self.exists_from_unit or declared

    @property
    def paths(self) -> tuple[str, ...]:
        if self.table is None:
            return ()
        return (self.table,) if isinstance(self.table, str) else self.table


class HistorySeed(Strict):
    """Events from before the first day, one row per entity.

    `ids` come oldest first, `actions` name the subset acted on. `as_of`: none of them is later than
    the end of that day.
    """

    table: str = Field(json_schema_extra=RUNNING)
    key: str
    as_of: dt.date | None = Field(None, json_schema_extra=RUNNING)
    ids: str
    actions: dict[str, str] = Field(default_factory=dict)


class HistoryConfig(Strict):
    """What an entity met before an event: the last `length` rows of `log` of `days` days.

    Only rows where `where` is 1. Read by the models of that log. `entity` is the history's name
    unless it is set, so that one entity can have several. `pairs` are features of `of` (or `id`,
    the entity itself) by which a row's own `of` is compared with what the history holds: how many
    earlier events shared it, with which actions, and how long ago. These are features of the pair,
    so they join the row's context. `known_after` is how long after an event its actions are known
    (seconds, or `5m`, `1h`, `1d`): only then does the event appear in the history.
    """

    entity: str | None = None
    of: str
    log: str
    where: str | None = None
    actions: tuple[str, ...] = Field((), max_length=8)
    pairs: Annotated[tuple[str, ...], AfterValidator(distinct)] = ()
    length: int = Field(50, ge=1, le=1000)
    days: int = Field(30, ge=1)
    known_after: Duration = Field(0, json_schema_extra=LATER)
    seed: HistorySeed | None = None

    @model_validator(mode="after")
    def _known_in_time(self) -> HistoryConfig:
        if self.known_after >= self.days * SECONDS_PER_DAY:
            raise ValueError(
                f"known_after should be shorter than the {self.days} days that the history reaches"
                f" back, or it would hold nothing; it is {self.known_after} seconds"
            )
        return self


class JoinedLabel(Strict):
    """A label that arrives in another log: 1 for the rows whose `key` is found there in time."""

    log: str
    key: str


class TaskConfig(Strict):
    """What is predicted of the rows of a log."""

    log: str
    label: str | Annotated[tuple[str, ...], Field(min_length=1)] | JoinedLabel = Field(
        description="a column, several (1 where any is), or another log"
    )
    given: str | None = None
    matures_days: int = Field(0, ge=0, le=90)
