"""The kinds of upstreams there are, by name; a kind is imported when it is asked for."""

from __future__ import annotations

from headwater.models.upstream.base import Upstream
from headwater.plugins import resolve

UPSTREAMS = {"derm": "headwater.models.upstream.derm:DermUpstream"}


def kind_of(name: str) -> Upstream:
    """The kind of that name. Raises ConfigError."""
    made: Upstream = resolve("headwater.upstream", UPSTREAMS, name)()
    return made
