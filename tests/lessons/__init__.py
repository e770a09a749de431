"""The lessons: their rules, their exercises, their solved path."""
