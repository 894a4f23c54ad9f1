"""Versions of parameters: immutable, with parents, like commits; diff, merge, blame, bisect, files.
Refs and the storing of versions live in ``lmflow.stores``.
"""
