"""What an edition needs before readers may follow it: its online copies and its item indexes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from headwater.blobs import Layout
from headwater.config import FactoryConfig, OnlineConfig
from headwater.digests import digest_of
from headwater.files import remove_folder
from headwater.index import index_folder, open_index
from headwater.plugins import maker
from headwater.store import ONLINE_STORES, Edition, OnlineStore, load_edition
from headwater.store.online import copies_of


def online_of(config: FactoryConfig, layout: Layout) -> OnlineStore | None:
    """The online store of a lane's home; None where none is declared. Raises ConfigError."""
    made = online_maker(config.store.online, layout)
    return None if made is None else made()


def online_maker(spec: OnlineConfig, layout: Layout) -> Callable[[], OnlineStore] | None:
    """What makes the online store that is declared; none is made yet. Raises ConfigError."""
    if spec.kind == "none":
        return None
    folder = online_folder(spec, layout)
    return maker("headwater.online", ONLINE_STORES, spec.kind, spec.settings, folder)


def online_folder(spec: OnlineConfig, layout: Layout) -> Path:
    """Where the store that is declared has its files: none shares them with one of another kind or
    of other settings, so that what is no longer declared can be found, and goes.
    """
    made_of = f"-{digest_of(spec.settings)[:8]}" if spec.settings else ""
    return layout.online_store(spec.kind.replace(":", ".") + made_of)


def forget_other_stores(config: FactoryConfig, layout: Layout) -> None:
    """Remove the files of online stores that are no longer declared."""
    declared = online_folder(config.store.online, layout)
    for path in layout.online_stores():
        if path != declared:
            remove_folder(path)


def item_snapshots(edition: Edition) -> list[str]:
    """The snapshots that are searched."""
    return [name for name, entry in edition.snapshots.items() if entry["entity"] == "item"]


def serve(config: FactoryConfig, edition: Edition) -> None:
    """Fill the online store and the item indexes with an edition; a second time is a no-op."""
    for name in item_snapshots(edition):
        part = edition.part(name)
        open_index(
            edition.layout.indexes,
            edition.index_name(name),
            part.space,
            part.rows,
            functools.partial(edition.points, name),
            config.index.kind,
        )
    online = online_of(config, edition.layout)
    if online is not None:
        load_edition(online, edition)


def is_served(config: FactoryConfig, edition: Edition) -> bool:
    """Whether the online store and the indexes hold all of an edition."""
    folders = indexes_of(config, edition, item_snapshots(edition))
    if not all((folder / "index.faiss").is_file() for folder in folders):
        return False
    online = online_of(config, edition.layout)
    copies = [copy for name in edition.snapshots for copy in copies_of(edition, name)]
    return online is None or all(online.holds(copy) for copy in copies)


def indexes_of(config: FactoryConfig, edition: Edition, names: list[str]) -> set[Path]:
    """The folders of the indexes over some snapshots, whether they are there or not."""
    return {
        index_folder(edition.layout.indexes, edition.index_name(name), config.index.kind)
        for name in names
    }
