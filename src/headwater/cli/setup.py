"""Before a factory runs: writing its config from a recipe, checking config and data, explaining
values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from headwater.config import FactoryConfig, load_config, parse_config, warehouse_of
from headwater.console import Console
from headwater.errors import ConfigError, EditionMissing, HeadwaterError, StoreError
from headwater.events import ExampleReader
from headwater.events.entities import EntityTable
from headwater.events.histories import seed_events
from headwater.files import exclusive, sweep_leftovers, write_atomic
from headwater.index import INDEXES
from headwater.lifecycle import erase, finish_erasures
from headwater.plugins import resolve
from headwater.recipes import RECIPES
from headwater.schema import Schema
from headwater.store import MAIN, ONLINE_STORES, read_catalog
from headwater.store.catalog import home_of
from headwater.worlds.adsworld import SIZES, write_world

HEADER = """\
# Written by `headwater init {recipe}`. Relative paths count from this folder.
# `headwater check` validates it; `headwater check --explain` prints every value, also those not
# written here.
"""


@contextmanager
def open_warehouse(
    factory: Path, settled: bool = True, lane: str = MAIN
) -> Iterator[tuple[Path, FactoryConfig]]:
    """A factory's warehouse, with the writer's lock held, swept of what killed writers left, and
    its config.

    Raises StoreError where it should be `settled`, and a replay of the lane was begun and not
    finished.
    """
    config = load_config(factory)
    config.for_lane(lane)
    root = factory.resolve().parent
    warehouse = warehouse_of(config, root)
    with exclusive(warehouse):
        if settled and not read_catalog(warehouse).lanes:
            raise EditionMissing(
                f"{warehouse}: nothing was published there yet. `headwater run` or `backfill` comes"
                " first."
            )
        sweep_leftovers(warehouse)
        finish_erasures(warehouse, config, Schema.from_config(config, root))
        pending = home_of(warehouse, lane) / "replay.json"
        if settled and pending.is_file():
            raise StoreError(
                f"a replay of the lane {lane!r} was not finished ({pending}): days are still to be"
                f" run again. `headwater run --lane {lane}` of any day finishes it; `headwater"
                " rollback --to DAY`, to a day before them all, gives it up."
            )
        yield warehouse, config


def erase_entities(factory: Path, entity: str, ids: list[str]) -> dict[str, Any]:
    """See lifecycle.erase. Raises ConfigError for an entity that is not declared."""
    with open_warehouse(factory, settled=False) as (warehouse, config):
        schema = Schema.from_config(config, factory.resolve().parent)
        if entity not in schema.entities:
            raise ConfigError(
                f"no entity named {entity!r}; declared: {', '.join(schema.entities)}."
            )
        return erase(warehouse, config, schema, entity, ids)


def init_factory(
    recipe: str,
    data: Path,
    out: Path,
    *,
    size: str,
    seed: int,
    days: int | None,
    mood: float = 0.0,
    console: Console,
) -> Path:
    """Write OUT/factory.yaml. Raises ConfigError: no such recipe, files missing, or another config
    already there.
    """
    if recipe not in RECIPES:
        raise ConfigError(f"no recipe named {recipe!r}; there are: {', '.join(RECIPES)}.")
    if recipe == "adsworld":
        make_world(data, size, seed, days, mood, console)
    missing = [name for name in RECIPES[recipe].needs if not list(data.glob(name))]
    if missing:
        raise ConfigError(
            f"{data}: recipe {recipe!r} needs files that are not there:",
            [f"{data / name}" for name in missing],
        )
    raw = RECIPES[recipe].config(data, Path(os.path.relpath(data.resolve(), out.resolve())))
    path = out / "factory.yaml"
    text = HEADER.format(recipe=recipe) + yaml.safe_dump(
        raw, sort_keys=False, default_flow_style=None, width=110
    )
    parse_config(yaml.safe_load(text), str(path))
    if path.exists() and path.read_text() != text:
        raise ConfigError(
            f"{path}: there is another factory already. Choose another --out, or remove it."
        )
    if (prepare := RECIPES[recipe].prepare) is not None:
        prepare(data, out)
    write_atomic(path, text)
    return path


def make_world(
    data: Path, size: str, seed: int, days: int | None, mood: float, console: Console
) -> None:
    """Simulate adsworld into `data`, unless a world lies there already. Raises ConfigError for an
    unknown size or an impossible mood.
    """
    if size not in SIZES:
        raise ConfigError(f"adsworld: no size {size!r}; there are: {', '.join(SIZES)}.")
    if not 0 <= mood < math.inf:
        raise ConfigError(f"adsworld: no mood {mood}; expected a number from 0 on.")
    if (data / "world.json").is_file():
        console.log(f"{data}: a world lies there already; it is used as it is")
        return
    if data.exists() and any(data.iterdir()):
        raise ConfigError(
            f"{data}: not empty, and no world.json in it. Choose an empty folder for adsworld."
        )
    assumptions = replace(SIZES[size], mood=mood, days=SIZES[size].days if days is None else days)
    if data.exists():
        data.rmdir()
    with console.progress("simulate", assumptions.days) as bar:
        write_world(data, assumptions, seed, bar.advance)
    console.log(
        f"simulated {assumptions.days} days of {assumptions.impressions_a_day:,} impressions",
        seed=seed,
        data=data,
    )


def check_factory(path: Path) -> dict[str, Any]:
    """Config, files, columns and types. Raises ConfigError with every problem found; writes
    nothing.
    """
    config = load_config(path)
    schema = Schema.from_config(config, path.resolve().parent)
    problems = list(dict.fromkeys(_problems(config, schema)))
    if problems:
        raise ConfigError(
            f"{path}: {len(problems)} problem{'s' * (len(problems) != 1)} with the data:", problems
        )
    reader = ExampleReader(schema, config.zone)
    spans = {name: log.span() for name, log in reader.logs.items()}
    return {
        "factory": str(path),
        "problems": [],
        "logs": {
            name: {"first_day": str(span[0]), "last_day": str(span[1])}
            for name, span in spans.items()
            if span
        },
    }


def _problems(config: FactoryConfig, schema: Schema) -> Iterator[str]:
    yield from _caught(lambda: warehouse_of(config, Path()))
    yield from _caught(lambda: resolve("headwater.index", INDEXES, config.index.kind))
    if config.store.online != "none":
        yield from _caught(lambda: resolve("headwater.online", ONLINE_STORES, config.store.online))
    for lane in config.lanes:
        yield from _caught(lambda lane=lane: config.for_lane(lane))
    for consumer in config.downstream.values():
        yield from _caught(lambda consumer=consumer: _ranker_exists(consumer.model))
    reader = ExampleReader(schema, config.zone)
    for log in reader.logs.values():
        yield from _caught(log.columns_found)
        yield from _caught(log.undated)
    for entity in schema.entities.values():
        yield from _caught(lambda entity=entity: EntityTable(entity, config.zone))
    for history in schema.histories.values():
        yield from _caught(lambda history=history: seed_events(history))


def _ranker_exists(model: str) -> None:
    from headwater.models.downstream import RANKERS

    resolve("headwater.ranker", RANKERS, model)


def _caught(step: Any) -> Iterator[str]:
    try:
        step()
    except ConfigError as error:
        yield from error.problems or [str(error)]
    except HeadwaterError as error:
        yield str(error)


def explain_factory(path: Path) -> dict[str, dict[str, Any]]:
    """Every value by its path, and whether it was declared, is a default, or was derived from a
    size.
    """
    from headwater.models.upstream import sizes_of

    config = load_config(path)
    declared = dict(_leaves(config.model_dump(mode="json", exclude_unset=True)))
    values = {}
    for name, value in _leaves(config.model_dump(mode="json")):
        values[name] = {"value": value, "from": "declared" if name in declared else "default"}
    for name, upstream in config.upstreams.items():
        for field, value in (
            asdict(sizes_of(upstream)) | {"width": sizes_of(upstream).width}
        ).items():
            entry = values.get(f"upstreams.{name}.{field}")
            if entry is None or entry["value"] is None:
                values[f"upstreams.{name}.{field}"] = {
                    "value": value,
                    "from": f"derived from size: {upstream.size}",
                }
        if upstream.hidden_share is None:
            why = "derived from content_vectors" if upstream.hides else "default"
            values[f"upstreams.{name}.hidden_share"] = {"value": upstream.hides, "from": why}
    return values


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
