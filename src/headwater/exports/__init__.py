"""Vectors and rows for models and stores that are not ours: training sets, Arrow, torch, Feast."""
