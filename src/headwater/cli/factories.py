"""A new factory: its factory.yaml, written from a recipe."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from headwater.cli.worlds import WorldOptions, make_world
from headwater.config import parse_config
from headwater.console import Console
from headwater.errors import ConfigError
from headwater.files import write_atomic
from headwater.recipes import RECIPES

HEADER = """\
# Written by `headwater init {recipe}`. Relative paths count from this folder.
# `headwater check` validates it; `headwater check --explain` prints every value, also those not
# written here.
"""


def init_factory(recipe: str, data: Path, out: Path, world: WorldOptions, console: Console) -> Path:
    """Write OUT/factory.yaml; returns its path. `world` is read by the recipe adsworld only.

    Raises ConfigError for a recipe that is not there, missing files, or another config in `out`.
    """
    if recipe not in RECIPES:
        raise ConfigError(f"no recipe named {recipe!r}; there are: {', '.join(RECIPES)}.")
    if recipe == "adsworld":
        make_world(data, world, console)
    missing = [name for name in RECIPES[recipe].needs if not list(data.glob(name))]
    if missing:
        raise ConfigError(
            f"{data}: recipe {recipe!r} needs files that are not there:",
            [f"{data / name}" for name in missing],
        )
    raw = RECIPES[recipe].config(data, Path(os.path.relpath(data.resolve(), out.resolve())))
    path = out / "factory.yaml"
    text = HEADER.format(recipe=recipe) + yaml.safe_dump(
        raw, sort_keys=False, default_flow_style=None, width=110
    )
    parse_config(yaml.safe_load(text), str(path))
    if path.exists() and path.read_text() != text:
        raise ConfigError(
            f"{path}: there is another factory already. Choose another --out, or remove it."
        )
    if (prepare := RECIPES[recipe].prepare) is not None:
        prepare(data, out)
    write_atomic(path, text)
    return path
