"""Which users are judged, where not all are. Shape suffix: N rows."""

from __future__ import annotations

import numpy as np

from headwater.ids import mix64

# Another hash than that by which ids are put into buckets and keys are sorted.
SALT = np.uint64(0x6A09E667F3BCC908)


def are_judged(users_N: np.ndarray, share: float) -> np.ndarray:
    """Whether the users of some keys are among the `share` that is judged, bool [N].

    A user is or is not, on every day and in every factory; a smaller share is part of a larger.
    """
    if share >= 1:
        return np.ones(len(users_N), bool)
    return mix64(users_N ^ SALT) < np.uint64(share * 2.0**64)


def share_note(share: float) -> str:
    """What a table says of it."""
    return (
        f"Judged were {share:.3g} of the users (evaluation.users_share), chosen by a hash of their"
        " ids; rankers learnt from all rows."
    )
