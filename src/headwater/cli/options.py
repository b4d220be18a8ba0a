"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from headwater.console import Console
from headwater.errors import ConfigError

FACTORY_YAML = Path("factory.yaml")
MAIN = "main"  # as in headwater.store, whose import `--help` does not wait for

FactoryPath = Annotated[Path, typer.Option("--factory", help="The factory's config.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
LogKind = Annotated[str, typer.Option("--log", help="Log lines on stderr: text or json.")]
Lane = Annotated[str, typer.Option("--lane", help="A lane of factory.yaml.")]


def day_of(text: str) -> dt.date:
    """The day that a text names. Raises ConfigError where it is not YYYY-MM-DD."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is not a day; expected YYYY-MM-DD, such as 2022-04-25."
        ) from None


def day_or_none(text: str | None) -> dt.date | None:
    """The day that an option names; None where it was not given."""
    return None if text is None else day_of(text)


def console_of(kind: str) -> Console:
    """The console for `--log`. Raises ConfigError for another kind than text or json."""
    if kind not in ("text", "json"):
        raise ConfigError(f"--log {kind!r}: expected text or json.")
    return Console(json_lines=kind == "json")
