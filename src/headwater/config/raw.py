"""Reading a raw mapping, as YAML gave it: nothing in it need be what it should be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def get(value: Any, *path: Any) -> Any:
    """What lies at the path; None where there is nothing, or no mapping on the way."""
    for key in path:
        if not (isinstance(value, Mapping) and isinstance(key, str)):
            return None
        value = value.get(key)
    return value


def keys(value: Any) -> tuple[str, ...]:
    """The keys of a mapping, as text; none of anything else."""
    return tuple(str(key) for key in value) if isinstance(value, Mapping) else ()


def items(raw: Mapping[str, Any], part: str) -> list[tuple[str, Any]]:
    """Names and values of a part of the mapping; none where that is no mapping itself."""
    value = get(raw, part)
    return [(str(key), item) for key, item in value.items()] if isinstance(value, Mapping) else []


def strings(value: Any) -> tuple[str, ...]:
    """The texts of a list; none of anything else."""
    if not isinstance(value, list | tuple):
        return ()
    return tuple(item for item in value if isinstance(item, str))


def expect(value: Any, known: Iterable[str], path: str, noun: str) -> Iterator[str]:
    """The problem of a name that is not among those known, if it is one."""
    known = tuple(known)
    if value is not None and value not in known:
        yield f"{path}: no {noun} named {value!r}; declared: {', '.join(known) or 'none'}"
