"""What `headwater check --explain` prints: every value of a config, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.config import load_config


@dataclass(frozen=True)
class Setting:
    """A value, and whether it was declared, is a default, or was derived from another."""

    value: Any
    source: str

    def as_json(self) -> dict[str, Any]:
        return {"value": self.value, "from": self.source}


def explain_factory(path: Path) -> dict[str, Setting]:
    """Every setting of a factory.yaml, by its dotted path."""
    from headwater.models.upstream import sizes_of

    config = load_config(path)
    declared = dict(_leaves(config.model_dump(mode="json", exclude_unset=True)))
    settings = {
        name: Setting(value, "declared" if name in declared else "default")
        for name, value in _leaves(config.model_dump(mode="json"))
    }
    for name, upstream in config.upstreams.items():
        sizes = sizes_of(upstream)
        for field, value in (asdict(sizes) | {"width": sizes.width}).items():
            key = f"upstreams.{name}.{field}"
            if key not in settings or settings[key].value is None:
                settings[key] = Setting(value, f"derived from size: {upstream.size}")
        if upstream.hidden_share is None:
            why = "derived from content_vectors" if upstream.hides else "default"
            settings[f"upstreams.{name}.hidden_share"] = Setting(upstream.hides, why)
    return settings


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their dotted paths; an empty mapping is a value too."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
