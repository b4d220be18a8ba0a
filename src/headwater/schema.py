"""The declared data: entities, feature kinds, logs, tasks, joined and resolved. Built once from the
config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from headwater.config import (
    AUTO_GROUP,
    USER_DAY,
    USER_TIME,
    Categorical,
    EntityConfig,
    FactoryConfig,
    Feature,
    HistorySeed,
    JoinedLabel,
    LogConfig,
    MultiCategorical,
    Numeric,
    Timestamp,
    Vector,
    label_columns,
    upstream_entities,
)
from headwater.errors import SchemaError

__all__ = [
    "Categorical",
    "Entity",
    "Feature",
    "History",
    "LabelSource",
    "Log",
    "MultiCategorical",
    "Numeric",
    "Schema",
    "Task",
    "Timestamp",
    "Vector",
]


@dataclass(frozen=True)
class Entity:
    """A kind of thing that gets vectors, and the table of what is known of it.

    `exists_from` is the column with the moment from which each exists, `exists_unit` what integers
    in it count.
    """

    name: str
    paths: tuple[str, ...] = ()
    key: str | None = None
    features: Mapping[str, Feature] = field(default_factory=dict)
    exists_from: str | None = None
    exists_unit: str = "ms"


@dataclass(frozen=True)
class Log:
    """A table of timed events. `paths` are globs; `columns` are those read beside time and ids.

    `group` says within what its rows compete: USER_TIME, USER_DAY, AUTO_GROUP, or a column.
    """

    name: str
    paths: tuple[str, ...]
    time: str
    time_unit: str
    entities: Mapping[str, str]
    features: Mapping[str, Feature]
    labels: tuple[str, ...]
    join_keys: tuple[str, ...]
    event_id: str | None
    max_reject_share: float
    group: str = AUTO_GROUP

    @property
    def columns(self) -> tuple[str, ...]:
        wanted = [self.time, *self.entities.values(), *self.features, *self.labels, *self.join_keys]
        further = (self.event_id, self.group_column)
        return tuple(dict.fromkeys([*wanted, *(name for name in further if name)]))

    @property
    def group_column(self) -> str | None:
        """The column that says which rows compete; None where user and time do, or the day."""
        return None if self.group in (AUTO_GROUP, USER_DAY, USER_TIME) else self.group


@dataclass(frozen=True)
class LabelSource:
    """Where a label comes from: columns of the row (1 where any of them is), or the appearance of
    its `key` in another log.
    """

    columns: tuple[str, ...] = ()
    log: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if bool(self.columns) == (self.log is not None):
            raise SchemaError(
                "LabelSource: expected columns or a log with a key, received both or neither."
            )


@dataclass(frozen=True)
class Task:
    """A label to predict; `given` restricts it to the rows where another label is 1."""

    name: str
    log: str
    label: LabelSource
    given: Task | None = None
    matures_days: int = 0


@dataclass(frozen=True)
class History:
    """What an entity met before an event: the last `length` rows of a log, with the actions
    taken. A row enters `known_after_s` after its time, when its actions are known.
    """

    entity: str
    of: str
    log: str
    where: str | None
    actions: tuple[str, ...]
    length: int
    days: int
    seed: HistorySeed | None
    pairs: tuple[str, ...] = ()
    known_after_s: int = 0


@dataclass(frozen=True)
class Schema:
    """Everything declared of the data, checked to hang together."""

    entities: Mapping[str, Entity]
    logs: Mapping[str, Log]
    tasks: Mapping[str, Task]
    histories: Mapping[str, History]
    upstream_entities: Mapping[str, tuple[str, ...]]
    upstream_logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: FactoryConfig, root: Path) -> Schema:
        """Resolve `config`; relative paths count from `root`."""
        tasks: dict[str, Task] = {}
        for name in sorted(config.tasks, key=lambda task: config.tasks[task].given is not None):
            tasks[name] = _task(name, config, tasks)
        ordered = {name: tasks[name] for name in config.tasks}
        return cls(
            entities=MappingProxyType(
                {name: _entity(name, spec, root) for name, spec in config.entities.items()}
            ),
            logs=MappingProxyType(
                {name: _log(name, spec, config, root) for name, spec in config.logs.items()}
            ),
            tasks=MappingProxyType(ordered),
            histories=MappingProxyType(
                {name: _history(name, config, root) for name in config.histories}
            ),
            upstream_entities=MappingProxyType(
                {
                    name: upstream_entities(config.model_dump(), spec.model_dump())
                    for name, spec in config.upstreams.items()
                }
            ),
            upstream_logs=MappingProxyType(
                {
                    name: tuple(dict.fromkeys(config.tasks[task].log for task in spec.tasks))
                    for name, spec in config.upstreams.items()
                }
            ),
        )

    def histories_of(self, log: str) -> dict[str, History]:
        """The histories that models of `log` read, by entity."""
        owners = self.logs[log].entities
        return {
            history.entity: history
            for history in self.histories.values()
            if history.log == log and history.entity in owners
        }

    def beside(self, log: str) -> tuple[str, ...]:
        """Other logs whose histories are read with the rows of `log`, because an upstream learns
        from both.
        """
        together = [logs for logs in self.upstream_logs.values() if log in logs]
        return tuple(dict.fromkeys(other for logs in together for other in logs if other != log))

    def embedding_names(self) -> tuple[str, ...]:
        return tuple(
            f"{up}_{entity}"
            for up, entities in self.upstream_entities.items()
            for entity in entities
        )


def _entity(name: str, spec: EntityConfig, root: Path) -> Entity:
    return Entity(
        name,
        _absolute(spec.paths, root),
        spec.key,
        MappingProxyType(spec.features),
        spec.exists_from,
        spec.exists_unit,
    )


def _task(name: str, config: FactoryConfig, known: dict[str, Task]) -> Task:
    spec = config.tasks[name]
    if isinstance(spec.label, JoinedLabel):
        source = LabelSource(log=spec.label.log, key=spec.label.key)
    else:
        source = LabelSource(label_columns(spec.label))
    given = known[spec.given] if spec.given else None
    return Task(name, spec.log, source, given, spec.matures_days)


def _log(name: str, spec: LogConfig, config: FactoryConfig, root: Path) -> Log:
    labels: dict[str, None] = {}
    join_keys: dict[str, None] = {}
    for task in config.tasks.values():
        if isinstance(task.label, JoinedLabel):
            if name in (task.log, task.label.log):
                join_keys[task.label.key] = None
        elif task.log == name:
            labels.update(dict.fromkeys(label_columns(task.label)))
    for history in config.histories.values():
        if history.log == name:
            labels.update(
                dict.fromkeys([*history.actions, *([history.where] if history.where else [])])
            )
    return Log(
        name=name,
        paths=_absolute(spec.paths, root),
        time=spec.time,
        time_unit=spec.time_unit,
        entities=MappingProxyType(spec.entities),
        features=MappingProxyType(spec.features),
        labels=tuple(labels),
        join_keys=tuple(join_keys),
        event_id=spec.event_id,
        max_reject_share=spec.max_reject_share,
        group=config.group_of(name),
    )


def _history(name: str, config: FactoryConfig, root: Path) -> History:
    spec = config.histories[name]
    seed = spec.seed
    if seed is not None:
        seed = seed.model_copy(update={"table": _absolute((seed.table,), root)[0]})
    return History(
        spec.entity or name,
        spec.of,
        spec.log,
        spec.where,
        spec.actions,
        spec.length,
        spec.days,
        seed,
        spec.pairs,
        spec.known_after,
    )


def _absolute(paths: tuple[str, ...], root: Path) -> tuple[str, ...]:
    return tuple(path if "://" in path else str((root / path).resolve()) for path in paths)
