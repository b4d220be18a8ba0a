"""Editions on disk, the catalog that says which are published, views as of a day, and the online
store for look-ups.
"""

from headwater.blobs import MAIN
from headwater.store.catalog import Catalog, Entry, Lane, Live
from headwater.store.catalog_store import CatalogStore
from headwater.store.compose import Composed, MergeRule, Provenance, compose
from headwater.store.dailies import Daily, read_daily, write_daily
from headwater.store.editions import Edition
from headwater.store.online import (
    ONLINE_STORES,
    Found,
    LmdbStore,
    MemoryStore,
    OnlineStore,
    get_served,
    load_edition,
)
from headwater.store.segments import Segment
from headwater.store.tombstones import Tombstones
from headwater.store.views import EditionView, point_in_time

__all__ = [
    "MAIN",
    "ONLINE_STORES",
    "Catalog",
    "CatalogStore",
    "Composed",
    "Daily",
    "Edition",
    "EditionView",
    "Entry",
    "Found",
    "Lane",
    "Live",
    "LmdbStore",
    "MemoryStore",
    "MergeRule",
    "OnlineStore",
    "Provenance",
    "Segment",
    "Tombstones",
    "compose",
    "get_served",
    "load_edition",
    "point_in_time",
    "read_daily",
    "write_daily",
]
