"""Feast objects, derived from the feature schema."""
