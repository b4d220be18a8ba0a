"""What `headwater check` looks at: config, files, columns and types; nothing is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from headwater.blobs import Layout
from headwater.config import FactoryConfig, load_config, warehouse_of
from headwater.embeddings import make_policy
from headwater.engine import engine_maker
from headwater.errors import ConfigError, HeadwaterError
from headwater.events import ExampleReader
from headwater.events.entities import EntityTable
from headwater.events.histories import seed_events
from headwater.index import INDEXES
from headwater.lifecycle.serve import online_maker
from headwater.models.upstream import kind_of, plan_of
from headwater.plugins import resolve
from headwater.schema import Schema


@dataclass(frozen=True)
class Checked:
    """A factory without problems. `spans`: the first and the last day of each log that has any;
    `notes`: what is no problem, and good to know.
    """

    factory: Path
    spans: Mapping[str, tuple[dt.date, dt.date]]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        logs = {
            name: {"first_day": str(first), "last_day": str(last)}
            for name, (first, last) in self.spans.items()
        }
        return {
            "factory": str(self.factory),
            "problems": [],
            "logs": logs,
            "notes": list(self.notes),
        }


def check_factory(path: Path) -> Checked:
    """Look at a factory's config and data. Raises ConfigError with every problem found."""
    config = load_config(path)
    schema = Schema.from_config(config, path.resolve().parent)
    problems = list(dict.fromkeys(_problems(config, schema)))
    if problems:
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        raise ConfigError(f"{path}: {count} in its config and data:", problems)
    reader = ExampleReader(schema, config.zone)
    spans = {name: log.span() for name, log in reader.logs.items()}
    notes = tuple(_about_existence(config, reader))
    return Checked(path, {name: span for name, span in spans.items() if span}, notes)


def _about_existence(config: FactoryConfig, reader: ExampleReader) -> Iterator[str]:
    """Of whom nothing tells since when they exist."""
    for name, spec in config.entities.items():
        if spec.exists_from is None:
            continue
        existence = reader.table(name).existence
        yield (
            f"entities.{name}.exists_from: {existence.untold:,} of {len(existence.keys_T):,} rows"
            f" have no readable time in {spec.exists_from!r}; those exist from their first sight in"
            " a log"
        )
    for name in config.upstreams:
        for entity in plan_of(config, reader.schema, name).needs.listed:
            if config.entities[entity].exists_from is None:
                yield (
                    f"upstreams.{name}: entities.{entity} has no exists_from, so of whom its table"
                    " lists only those exist, and get a vector, whom a log has shown; name the"
                    " column that tells since when each exists"
                )


def _problems(config: FactoryConfig, schema: Schema) -> Iterator[str]:
    yield from _caught(lambda: warehouse_of(config, Path()))
    yield from _caught(lambda: resolve("headwater.index", INDEXES, config.index.kind))
    yield from _caught(lambda: online_maker(config.store.online, Layout(Path())))
    yield from _caught(lambda: engine_maker(config.engine, config.workers))
    yield from _caught(lambda: make_policy(config.lifecycle.policy))
    for name, upstream in config.upstreams.items():
        yield from _caught(partial(plan_of, config, schema, name))
        yield from _caught(partial(kind_of, upstream.kind))
    for lane in config.lanes:
        yield from _caught(partial(config.for_lane, lane))
    for consumer in config.downstream.values():
        yield from _caught(partial(_ranker_exists, consumer.model))
    reader = ExampleReader(schema, config.zone)
    for log in reader.logs.values():
        yield from _caught(log.columns_found)
        yield from _caught(log.undated)
    for entity in schema.entities.values():
        yield from _caught(partial(EntityTable, entity, config.zone))
    for history in schema.histories.values():
        yield from _caught(partial(seed_events, history))


def _ranker_exists(model: str) -> None:
    from headwater.models.downstream import RANKERS

    resolve("headwater.ranker", RANKERS, model)


def _caught(step: Callable[[], object]) -> Iterator[str]:
    """The problems that a step raises, one a line."""
    try:
        step()
    except ConfigError as error:
        yield from error.problems or [str(error)]
    except HeadwaterError as error:
        yield str(error)
