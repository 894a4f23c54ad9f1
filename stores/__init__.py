"""Stores of traces: in memory and in SQLite; and corpora of passages."""
