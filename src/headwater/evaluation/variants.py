"""Variant: one variant of a downstream model in a comparison."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.config import read_by
from headwater.errors import ConfigError


@dataclass(frozen=True)
class Variant:
    """Which embeddings it reads, none of them for `none`.

    Those of `shuffled` are each day dealt out to the wrong entities.
    """

    name: str
    embeddings: tuple[str, ...]
    shuffled: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, known: Sequence[str]) -> Variant:
        """From its name: `none`, `all`, `shuffled` (all, as a control), or names joined by `+`.

        Then `-NAME` leaves one out and `~NAME` shuffles one, such as `all-ctr_user` and
        `all~ctr_user`. Raises ConfigError.
        """
        faults, (reads, shuffled) = read_by(name, known)
        if faults:
            raise ConfigError(f"variant {name!r}: {'; '.join(faults)}.")
        return cls(
            name,
            tuple(part for part in known if part in reads),
            tuple(part for part in known if part in shuffled),
        )


def subsets(known: Sequence[str]) -> tuple[str, ...]:
    """The names of the variants that read every subset of the embeddings, smallest first.

    That is `none`, each one, ..., `all`.
    """
    sizes = range(1, len(known))
    return (
        "none",
        *("+".join(some) for size in sizes for some in itertools.combinations(known, size)),
        *(["all"] if known else []),
    )
