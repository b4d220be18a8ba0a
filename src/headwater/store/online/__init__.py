"""Online stores: the vectors of a batch of keys, quickly.

A store holds serving copies of *segments*, each under its name and never changed. An edition is
served by the segments it is spread over, so a day's publish loads only the day's delta, and a
reader, who names the segments, never sees two editions at once.
"""

from headwater.store.online.base import Found, OnlineStore, first_of, key_bytes, not_held
from headwater.store.online.copies import copies_of, copy_name, get_served, load_edition
from headwater.store.online.lmdb import LmdbStore
from headwater.store.online.memory import MemoryStore

ONLINE_STORES: dict[str, type[OnlineStore]] = {"lmdb": LmdbStore}

__all__ = [
    "ONLINE_STORES",
    "Found",
    "LmdbStore",
    "MemoryStore",
    "OnlineStore",
    "copies_of",
    "copy_name",
    "first_of",
    "get_served",
    "key_bytes",
    "load_edition",
    "not_held",
]
