"""Checks of a whole store: its file, its indexes, and every hash in it."""
