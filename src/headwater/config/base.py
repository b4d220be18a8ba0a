"""What all sections have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

# In a field's `json_schema_extra`: it says how, where or what is refused, and shapes no vector and
# no score.
RUNNING: dict[str, Any] = {"running": True}


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def shaping(value: Any) -> Any:
    """A value of a config as JSON has it, without what is only RUNNING: what a digest is
    made of.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: shaping(getattr(value, name))
            for name, field in fields.items()
            if field.json_schema_extra != RUNNING
        }
    if isinstance(value, Mapping):
        return {name: shaping(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [shaping(one) for one in value]
    return value


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each may be named once")
    return values
