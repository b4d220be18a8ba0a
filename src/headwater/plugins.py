"""Names in a config to classes: an explicit dict of our own, the entry points of other packages, or
`package.module:Class`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from headwater.errors import ConfigError

NOUNS = {"online": "online store"}  # of a group, where its name is none


def resolve(group: str, builtins: Mapping[str, Any], name: str) -> Any:
    """The class registered as `name`: ours (a class, or `module:Class` to import it late), one that
    a package offers under the entry-point group, or the one that `module:Class` points to.

    Raises ConfigError with the names there are.
    """
    kind = _noun(group)
    if name in builtins:
        known = builtins[name]
        return _imported(kind, known) if isinstance(known, str) else known
    if ":" in name:
        return _imported(kind, name)
    offered = {point.name: point for point in entry_points(group=group)}
    if name in offered:
        try:
            return offered[name].load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{kind} {name!r}: its package offers {offered[name].value!r}, which cannot be"
                f" loaded ({error}). Mend or reinstall it."
            ) from error
    known = ", ".join([*builtins, *offered])
    raise ConfigError(
        f"no {kind} named {name!r}; there are: {known}. One of another package is named"
        f" 'package.module:Class', or offered by an entry point in the group {group!r}."
    )


def maker(
    group: str,
    builtins: Mapping[str, Any],
    name: str,
    settings: Mapping[str, Any],
    *given: object,
) -> Callable[[], Any]:
    """What makes an object of the class that is registered as `name`, of what it is given and its
    settings. Nothing is made yet.

    Raises ConfigError for a name that is not there, and for settings that the class does not take.
    """
    kind = resolve(group, builtins, name)
    try:
        inspect.signature(kind).bind(*given, **settings)
    except TypeError as error:
        takes = list(inspect.signature(kind).parameters)[len(given) :]
        raise ConfigError(
            f"{_noun(group)} {name!r}: it does not take the settings {dict(settings)} ({error});"
            f" its settings are: {', '.join(takes) or 'none'}."
        ) from None
    return functools.partial(kind, *given, **settings)


def _noun(group: str) -> str:
    name = group.removeprefix("headwater.")
    return NOUNS.get(name, name)


def _imported(kind: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{kind} {name!r}: the module {module!r} cannot be imported ({error}). Install its"
            " package where Headwater runs."
        ) from error
    except AttributeError:
        raise ConfigError(f"{kind} {name!r}: the module {module!r} has no {attribute!r}.") from None
    if not isinstance(found, type):
        raise ConfigError(f"{kind} {name!r}: should be a class, received {type(found).__name__}.")
    return found
