"""The colours of pages and pictures alike, on light and on dark paper."""

from __future__ import annotations

from typing import Any

# Each ink stands out from its paper by 4.5 to 1 or more.
LIGHT: dict[str, Any] = {
    "ink": "#17212b",
    "dim": "#55636f",
    "line": "#dde4e9",
    "paper": "#ffffff",
    "wash": "#f4f7f8",
    "accent": "#0b6e99",
    "good": "#1b7a68",
    "bad": "#b63a26",
    "flat": "#6f7d89",
    "doubt": "#965c00",
    "series": [
        "#0b6e99",
        "#cf7a1c",
        "#2a9d8f",
        "#8460b8",
        "#b8434e",
        "#5c6b78",
        "#7d9428",
        "#b8648f",
        "#3f5fae",
    ],
}
DARK: dict[str, Any] = {
    "ink": "#e4ebf0",
    "dim": "#9dacb8",
    "line": "#2a3641",
    "paper": "#10171d",
    "wash": "#18222a",
    "accent": "#62bfe6",
    "good": "#52c7ae",
    "bad": "#ef8470",
    "flat": "#93a1ad",
    "doubt": "#e3ab4f",
    "series": [
        "#62bfe6",
        "#eba257",
        "#52c7ae",
        "#b39be0",
        "#e8868e",
        "#a5b3be",
        "#b3cb62",
        "#e0a0c4",
        "#93aaf0",
    ],
}
