"""Tables that took a backtest to make, kept in the warehouse for the report:
`tables/SLUG.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from headwater.config import FactoryConfig
from headwater.digests import digest_of
from headwater.evaluation import Table
from headwater.files import read_json, write_json
from headwater.store import read_catalog


def keep_table(warehouse: Path, table: Table, state: Mapping[str, str | None]) -> Table:
    """Write a table down, with the state of the factory, before it was made, that it is about."""
    write_json(
        warehouse / "tables" / f"{table.slug}.json", {"state": state, "content": table.as_json()}
    )
    return table


def kept_tables(warehouse: Path, config: FactoryConfig) -> list[Table]:
    """The tables kept, by name; one made before the factory's last day says so."""
    found = []
    for path in sorted((warehouse / "tables").glob("*.json")):
        raw = read_json(path)
        table = Table.from_json(raw["content"])
        if raw["state"] != state_of(warehouse, config):
            late = (
                f"Made on an earlier state of the factory or its config, when {raw['state']['day']}"
                f" was live; `headwater lift --table {table.name}` makes it again."
            )
            table = replace(table, notes=(late, *table.notes))
        found.append(table)
    return found


def state_of(warehouse: Path, config: FactoryConfig) -> dict[str, str | None]:
    """What a table rests on: the live edition, its inputs, and what of the config shapes
    a table.
    """
    live, shaping = (
        read_catalog(warehouse).live,
        config.model_dump(mode="json", include={"evaluation", "retrieval", "index"}),
    )
    inputs = (live.lane, live.entry.digest, live.entry.fingerprint) if live else ()
    return {
        "day": str(live.entry.day) if live else None,
        "rests_on": digest_of(*inputs, config.digest(), shaping),
    }
