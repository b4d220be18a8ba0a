"""Recipes: a `factory.yaml` for a known data set, and where that data comes from."""

from __future__ import annotations

from headwater.recipes.adsworld import ADSWORLD
from headwater.recipes.base import Recipe
from headwater.recipes.kuairand import KUAIRAND
from headwater.recipes.kuairand_retrieval import KUAIRAND_RETRIEVAL

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (ADSWORLD, KUAIRAND, KUAIRAND_RETRIEVAL)
}

__all__ = ["RECIPES", "Recipe"]
