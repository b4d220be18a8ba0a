"""CatalogStore: the catalog as numbered blobs, created and never replaced."""

from __future__ import annotations

import json
from dataclasses import replace

from headwater.blobs import Blobs
from headwater.errors import StoreError
from headwater.store.catalog import Catalog

FOLDER = "catalog"
HINT = f"{FOLDER}/newest"
KEPT = 32  # catalogs: a reader that was slow finds the one it was told of


class CatalogStore:
    """Where the catalog is kept: numbered files, of which the highest is the truth.

    A change is the creation of the next number, which fails where another writer was quicker: so of
    two writers one wins, and the other says so. `catalog/newest` is a hint, written afterwards; a
    reader goes on from there to the first number that is not taken, and lists nothing.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def read(self) -> Catalog:
        """The newest catalog; an empty one, numbered 0, before the first. Raises StoreError."""
        number, data = self._newest()
        while number and data is None:  # it was let go between two looks, and there is a newer one
            number, data = self._newest()
        if data is None:
            return Catalog()
        try:
            return replace(Catalog.from_json(json.loads(data)), number=number)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{_key(number)}: not a catalog ({error!r}). Restore it from a backup: it alone"
                " says which editions are published."
            ) from error

    def write(self, catalog: Catalog) -> Catalog:
        """The switch: put `catalog`, a change of the one numbered `catalog.number`, in place as the
        next. Raises StoreError where another writer has changed it since it was read.
        """
        made = replace(catalog, number=catalog.number + 1)
        text = json.dumps(made.as_json(), indent=1, sort_keys=True) + "\n"
        if not self._blobs.create(_key(made.number), text.encode()):
            raise _overtaken(made.number)
        # So slow that the number was taken, used and let go again. One that is a little behind has
        # won, and others have built upon it already.
        if self._hinted() >= made.number + KEPT:
            self._blobs.remove(_key(made.number))
            raise _overtaken(made.number)
        self._blobs.write(HINT, str(made.number).encode())
        for key in self._listed():
            if _number(key) <= made.number - KEPT:
                self._blobs.remove(key)
        return made

    def begin(self) -> None:
        """Write an empty catalog where there is none, so that one that is lost later is missed."""
        if self._newest()[1] is None:
            self.write(Catalog())

    def _hinted(self) -> int:
        """0 where there is no hint."""
        hinted = self._blobs.read(HINT) or b""
        return int(hinted) if hinted.isdigit() else 0

    def _listed(self) -> list[str]:
        """The keys of the catalogs that are there, in order."""
        return [key for key in self._blobs.list(f"{FOLDER}/") if key != HINT]

    def _newest(self) -> tuple[int, bytes | None]:
        number = self._hinted()
        data = self._blobs.read(_key(number)) if number else None
        if data is None:
            return self._lost(number)
        while (later := self._blobs.read(_key(number + 1))) is not None:
            number, data = number + 1, later
        return number, data

    def _lost(self, hinted: int) -> tuple[int, bytes | None]:
        """What the hint names is not there: nothing was written yet, or the hint was mislaid, or
        the catalog was.
        """
        there = self._listed()
        # The hint follows its catalog, and only older ones are let go: nothing but a loss leaves it
        # ahead of all that are there. (A first run writes an empty catalog before anything else.)
        if there and _number(there[-1]) >= hinted:
            return _number(there[-1]), self._blobs.read(there[-1])
        if there or hinted > 1 or any(True for _ in self._blobs.list("editions/")):
            lost = _key(hinted) if there else f"{FOLDER}/"
            raise StoreError(
                f"{lost}: is gone, and editions are there. Restore it from a backup: it alone"
                " says which of them are published, and without it they would be taken for"
                " leftovers. To begin anew, choose another warehouse."
            )
        return 0, None


def _overtaken(number: int) -> StoreError:
    return StoreError(
        f"{_key(number)}: another writer has published meanwhile, and nothing was changed here. Run"
        " the same command again when the other run has ended."
    )


def _key(number: int) -> str:
    return f"{FOLDER}/{number:012d}.json"


def _number(key: str) -> int:
    return int(key.removeprefix(f"{FOLDER}/").removesuffix(".json"))
