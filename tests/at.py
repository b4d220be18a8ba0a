"""What lies in a warehouse's folder, for tests that have only its path."""

from __future__ import annotations

from pathlib import Path

from headwater.blobs import MAIN, Layout, LocalBlobs
from headwater.store import Catalog, CatalogStore, Edition, Entry
from headwater.workspace import open_edition


def catalogs_at(warehouse: Path) -> CatalogStore:
    return CatalogStore(LocalBlobs(warehouse))


def catalog_at(warehouse: Path) -> Catalog:
    return catalogs_at(warehouse).read()


def catalog_bytes(warehouse: Path) -> bytes:
    """The newest catalog as it lies there, but for its number."""
    return max((warehouse / "catalog").glob("*.json")).read_bytes()


def put_catalog(warehouse: Path, catalog: Catalog) -> None:
    """Write a catalog after whatever is there."""
    number = catalog_at(warehouse).number
    catalogs_at(warehouse).write(Catalog(catalog.lanes, catalog.live, catalog.pins, number))


def edition_at(warehouse: Path, entry: Entry, lane: str = MAIN) -> Edition:
    return open_edition(Layout(warehouse, lane), entry)
