"""Reader: what a service needs of a factory, and nothing that trains: vectors, neighbours,
retrieval, status. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from headwater.blobs import Layout
from headwater.config import FactoryConfig
from headwater.embeddings import NEVER_SEEN
from headwater.errors import ConfigError, EditionMissing, EntityMissing, SearchError, StoreError
from headwater.ids import key_of
from headwater.lifecycle.serve import online_of
from headwater.serving.answers import Found, Lookup, Status, found_in
from headwater.serving.search import Search, Wanted, keys_of_ids
from headwater.serving.status import status_of
from headwater.store import Edition, Live, OnlineStore, get_served
from headwater.workspace import Workspace, open_edition

Answer = TypeVar("Answer")


class Reader:
    """Answers from one edition. Every call reads the catalog once, so an answer never mixes two
    editions.
    """

    def __init__(self, workspace: Workspace, consumer: str | None = None) -> None:
        """A `consumer` with a pin reads the pinned edition, all others the live one."""
        self.workspace, self.consumer = workspace, consumer
        self._search = Search(workspace)
        self._last: tuple[Live, Edition] | None = None
        self._online: tuple[Layout, OnlineStore | None] | None = None

    @classmethod
    def load(cls, path: str | Path, consumer: str | None = None) -> Reader:
        """From a `factory.yaml`. Raises ConfigError."""
        return cls(Workspace.load(path), consumer)

    @property
    def config(self) -> FactoryConfig:
        return self.workspace.config

    def edition(self) -> Edition:
        """The edition that this reader follows. Raises EditionMissing."""
        return self._with_edition(lambda edition: edition)

    def lookup(self, entity: str, ids: Sequence[int | str]) -> Lookup:
        """Every upstream's vector of each entity.

        Raises EntityMissing, naming all ids that the edition does not know; then there is no vector
        at all.
        """
        if entity not in self.config.entities:
            raise ConfigError(
                f"no entity named {entity!r}; declared: {', '.join(self.config.entities)}."
            )
        return self._with_edition(lambda edition: self._lookup(edition, entity, ids))

    def similar(
        self, entity: str, value: int | str, k: int = 10, upstream: str | None = None
    ) -> Found:
        """The k entities whose vectors point most nearly the same way. Raises EntityMissing."""
        if entity != "item":
            raise ConfigError(f"similar: only items are indexed; received the entity {entity!r}.")
        name = self._embedding(upstream, "item")

        def answer(edition: Edition) -> Found:
            vector = self._point(edition, name, "item", value)
            near = self._search.near(edition, name, vector, k + 1)
            others = [found for found in near if key_of(found.id) != key_of(value)]
            return found_in(edition, name, value, others[:k])

        return self._with_edition(answer)

    def retrieve(
        self,
        user: int | str,
        k: int = 10,
        upstream: str | None = None,
        where: Sequence[str] = (),
        exclude: Iterable[int | str] = (),
        only: Iterable[int | str] | None = None,
        unseen: bool = False,
    ) -> Found:
        """The k items with the highest score for a user, in one upstream's space: the cosine or,
        with `retrieval.prior`, cosine / temperature + weight * log popularity.

        Of those items that fulfil every condition of `where` (`category=3`, `price<=10`: columns of
        the item table; of several `=` on one column, one is enough), are among `only`, and not
        among `exclude` nor, with `unseen`, beside the user in the log. Filtered answers are exact:
        k of them wherever k items are eligible. Raises EntityMissing, ConfigError, LogError.
        """
        chosen = upstream or self.config.retrieval_upstream()
        name, item = self._embedding(chosen, "user"), self._embedding(chosen, "item")
        among = None if only is None else tuple(only)
        wanted = Wanted(user, tuple(where), tuple(exclude), among, unseen)

        def answer(edition: Edition) -> Found:
            vector = self._point(edition, name, "user", user)
            near = self._search.retrieve(edition, chosen, vector, k, wanted)
            return found_in(edition, item, user, near)

        return self._with_edition(answer)

    def status(self) -> Status:
        """The state of the warehouse at a glance."""
        return status_of(self.workspace)

    # ---- the edition that is followed ------------------------------------------------------------

    def _followed(self) -> Live:
        catalog = self.workspace.catalog()
        followed = catalog.pins.get(self.consumer, catalog.live) if self.consumer else catalog.live
        if followed is None:
            raise EditionMissing(
                f"no edition is live in {self.workspace.layout.root}. `headwater run` or `backfill`"
                " publishes one."
            )
        return followed

    def _open(self, followed: Live) -> Edition:
        if self._last is None or self._last[0] != followed:
            layout = self.workspace.layout.of_lane(followed.lane)
            self._last = (followed, open_edition(layout, followed.entry))
        return self._last[1]

    def _with_edition(self, answer: Callable[[Edition], Answer]) -> Answer:
        """Answer from one edition; where it was retired in the midst of an answer, from the one
        that took its place.
        """
        while True:
            followed = self._followed()
            try:
                return answer(self._open(followed))
            except EntityMissing:
                raise
            except (StoreError, SearchError, OSError):
                self._last = None
                if self._followed() == followed:
                    raise

    # ---- vectors ---------------------------------------------------------------------------------

    def _lookup(self, edition: Edition, entity: str, ids: Sequence[int | str]) -> Lookup:
        names = [name for name, found in edition.snapshots.items() if found["entity"] == entity]
        vectors: dict[str, dict[str, list[float]]] = {str(value): {} for value in ids}
        for name in names:
            for value, vector in zip(ids, self._vectors(edition, name, ids), strict=True):
                if vector is not None:
                    vectors[str(value)][name] = vector.tolist()
        unknown = [value for value, found in vectors.items() if not found]
        if unknown:
            raise _missing(entity, unknown, edition)
        content: dict[str, list[str]] = {}
        for name in names:
            ages = edition.lookup(name, keys_of_ids(ids), edition.day).age_days_N
            for value, age in zip(ids, ages, strict=True):
                if age == NEVER_SEEN:
                    content.setdefault(str(value), []).append(name)
        return Lookup(edition.day, edition.digest, entity, vectors, content)

    def _vectors(
        self, edition: Edition, name: str, ids: Sequence[int | str]
    ) -> list[np.ndarray | None]:
        """Of each entity its vector [D] or sequence [K, D]; None of one that has none."""
        online = self._store_of(edition)
        if online is not None:
            return get_served(online, edition, name, keys_of_ids(ids))
        served = edition.lookup(name, keys_of_ids(ids), edition.day)
        rows = list(served.vectors_ND)
        if served.sequence_NKD is not None and served.steps_N is not None:
            pairs = zip(served.sequence_NKD, served.steps_N, strict=True)
            rows = [sequence[:steps] for sequence, steps in pairs]
        return [row if found else None for row, found in zip(rows, served.found_N, strict=True)]

    def _store_of(self, edition: Edition) -> OnlineStore | None:
        """The online store of an edition's home, opened once."""
        if self._online is None or self._online[0] != edition.layout:
            self._online = (edition.layout, online_of(self.config, edition.layout))
        return self._online[1]

    def _point(self, edition: Edition, name: str, entity: str, value: int | str) -> np.ndarray:
        """The one vector, float32 [D], that stands for an entity. Raises EntityMissing."""
        (vector,) = self._vectors(edition, name, [value])
        if vector is None:
            raise _missing(entity, [value], edition)
        return vector if vector.ndim == 1 else vector[0]

    def _embedding(self, upstream: str | None, entity: str) -> str:
        names = self.workspace.schema.embedding_names()
        chosen = upstream or next(iter(self.config.upstreams))
        if f"{chosen}_{entity}" not in names:
            raise ConfigError(
                f"no upstream {chosen!r} with {entity} vectors; embeddings are: {', '.join(names)}."
            )
        return f"{chosen}_{entity}"


def _missing(entity: str, ids: Sequence[int | str], edition: Edition) -> EntityMissing:
    listed = ", ".join(repr(str(value)) for value in ids)
    return EntityMissing(
        f"no {entity} {listed} in the live edition ({edition.day}): never seen in the logs up to"
        " that day, or expired. Check the id; new ones appear with the next edition."
    )
