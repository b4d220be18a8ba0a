"""Editions on disk, the views that read them, and the online store for look-ups."""

from headwater.store.editions import Edition, EditionStore
from headwater.store.online import ONLINE_STORES, LmdbStore, MemoryStore
from headwater.store.view import Served, View

__all__ = ["ONLINE_STORES", "Edition", "EditionStore", "LmdbStore", "MemoryStore", "Served", "View"]
