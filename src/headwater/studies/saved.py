"""Tables that took long to make, kept in the warehouse for the report: `tables/SLUG.json`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headwater.digests import digest_of
from headwater.evaluation import Table
from headwater.files import read_json, write_json
from headwater.workspace import Workspace


@dataclass(frozen=True)
class State:
    """What a table rests on: the live edition's day, and a digest of that edition, its inputs and
    what of the config shapes a table.
    """

    day: str | None
    rests_on: str

    @classmethod
    def of(cls, workspace: Workspace) -> State:
        """Of a factory as it is now."""
        live, config = workspace.catalog().live, workspace.config
        judged = config.model_dump(mode="json", include={"evaluation", "retrieval", "index"})
        inputs = (live.lane, live.entry.digest, live.entry.fingerprint) if live else ()
        day = str(live.entry.day) if live else None
        return cls(day, digest_of(*inputs, config.digest(), judged))


def keep_table(workspace: Workspace, table: Table, state: State) -> Table:
    """Write a table down, with the state of the factory, before it was made, that it is about."""
    about = {"day": state.day, "rests_on": state.rests_on}
    path = workspace.layout.kept_table(table.slug)
    write_json(path, {"state": about, "content": table.as_json()})
    return table


def kept_tables(workspace: Workspace) -> list[Table]:
    """The tables kept, by name; one made before the factory's last day says so."""
    found, now = [], State.of(workspace)
    for path in workspace.layout.kept_tables():
        raw = read_json(path)
        table, made = Table.from_json(raw["content"]), State(**raw["state"])
        if made != now:
            late = (
                f"Made on an earlier state of the factory or its config, when {made.day}"
                f" was live; `headwater lift --table {table.name}` makes it again."
            )
            table = replace(table, notes=(late, *table.notes))
        found.append(table)
    return found
