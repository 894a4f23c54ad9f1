"""Trace stores in PostgreSQL: what that database does in its own way; readers are SQLite's."""
