"""The lessons in a real browser."""
