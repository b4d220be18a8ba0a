"""A factory's warehouse, opened by a command that writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.blobs import MAIN
from headwater.errors import ConfigError, EditionMissing, StoreError
from headwater.files import exclusive, sweep_leftovers
from headwater.lifecycle import erase, finish_erasures
from headwater.lifecycle.erase import Proof
from headwater.workspace import Workspace


@contextmanager
def open_warehouse(factory: Path, settled: bool = True, lane: str = MAIN) -> Iterator[Workspace]:
    """A factory's workspace, with the writer's lock held and what killed writers left swept away.

    Where it should be `settled`, raises EditionMissing if nothing was published yet, and
    StoreError if a replay of the lane was begun and not finished.
    """
    workspace = Workspace.load(factory, lane)
    root, pending = workspace.layout.root, workspace.layout.replay
    with exclusive(root):
        if settled and not workspace.catalog().lanes:
            raise EditionMissing(
                f"{root}: nothing was published there yet. `headwater run` or `backfill` comes"
                " first."
            )
        sweep_leftovers(root)
        finish_erasures(workspace)
        if settled and pending.is_file():
            raise StoreError(
                f"a replay of the lane {lane!r} was not finished ({pending}): days are still to be"
                f" run again. `headwater run --lane {lane}` of any day finishes it; `headwater"
                " rollback --to DAY`, to a day before them all, gives it up."
            )
        yield workspace


def erase_entities(factory: Path, entity: str, ids: list[str]) -> Proof:
    """See lifecycle.erase. Raises ConfigError for an entity that is not declared."""
    with open_warehouse(factory, settled=False) as workspace:
        entities = workspace.schema.entities
        if entity not in entities:
            raise ConfigError(f"no entity named {entity!r}; declared: {', '.join(entities)}.")
        return erase(workspace, entity, ids)
