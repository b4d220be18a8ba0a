"""Editions on disk, the catalog that says which are published, views as of a day, and the online
store for look-ups.
"""

from headwater.store.catalog import MAIN, Catalog, Entry, Lane, Live, read_catalog, write_catalog
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
from headwater.store.views import EditionView, point_in_time
from headwater.store.writing import Composed, Daily, EditionStore

__all__ = [
    "MAIN",
    "ONLINE_STORES",
    "Catalog",
    "Composed",
    "Daily",
    "Edition",
    "EditionStore",
    "EditionView",
    "Entry",
    "Found",
    "Lane",
    "Live",
    "LmdbStore",
    "MemoryStore",
    "OnlineStore",
    "get_served",
    "load_edition",
    "point_in_time",
    "read_catalog",
    "write_catalog",
]
