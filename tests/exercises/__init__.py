"""Exercises: the mechanism."""
