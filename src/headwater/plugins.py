"""Names in a config to classes: an explicit dict of our own, then the entry points of other packages."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from headwater.errors import ConfigError


def resolve(group: str, builtins: Mapping[str, Any], name: str) -> Any:
    """The class registered as `name`: ours, or one that a package offers under the entry-point group.

    Raises ConfigError with the names there are.
    """
    if name in builtins:
        return builtins[name]
    offered = {point.name: point for point in entry_points(group=group)}
    if name in offered:
        return offered[name].load()
    known = ", ".join([*builtins, *offered])
    raise ConfigError(f"no {group.removeprefix('headwater.')} named {name!r}; there are: {known}. Another package offers "
                      f"one by an entry point in the group {group!r}.")  # fmt: skip
