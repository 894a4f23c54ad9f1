"""Renders values as text for the terminal; reads and runs nothing."""
