"""A factory's warehouse, opened by a command that writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.config import FactoryConfig, load_config, warehouse_of
from headwater.errors import ConfigError, EditionMissing, StoreError
from headwater.files import exclusive, sweep_leftovers
from headwater.lifecycle import erase, finish_erasures
from headwater.schema import Schema
from headwater.store import MAIN, read_catalog
from headwater.store.catalog import home_of


@contextmanager
def open_warehouse(
    factory: Path, settled: bool = True, lane: str = MAIN
) -> Iterator[tuple[Path, FactoryConfig]]:
    """A factory's warehouse and config, with the writer's lock held and what killed writers left
    swept away.

    Where it should be `settled`, raises EditionMissing if nothing was published yet, and
    StoreError if a replay of the lane was begun and not finished.
    """
    config = load_config(factory)
    config.for_lane(lane)
    root = factory.resolve().parent
    warehouse = warehouse_of(config, root)
    with exclusive(warehouse):
        if settled and not read_catalog(warehouse).lanes:
            raise EditionMissing(
                f"{warehouse}: nothing was published there yet."
                " `headwater run` or `backfill` comes first."
            )
        sweep_leftovers(warehouse)
        finish_erasures(warehouse, config, Schema.from_config(config, root))
        pending = home_of(warehouse, lane) / "replay.json"
        if settled and pending.is_file():
            raise StoreError(
                f"a replay of the lane {lane!r} was not finished ({pending}):"
                " days are still to be run again."
                f" `headwater run --lane {lane}` of any day finishes it;"
                " `headwater rollback --to DAY`, to a day before them all, gives it up."
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
