"""Editions on disk, the views that read them, and the online store for look-ups."""

from headwater.store.editions import Edition, EditionStore
from headwater.store.online import ONLINE_STORES, LmdbStore, MemoryStore, OnlineStore
from headwater.store.view import EditionView

__all__ = ["ONLINE_STORES", "Edition", "EditionStore", "EditionView", "LmdbStore", "MemoryStore", "OnlineStore"]
