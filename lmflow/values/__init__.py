"""Immutable values that everything else is made of: records, media, vectors, functions, and how
they are printed.
"""
