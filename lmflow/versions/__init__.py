"""Versions of parameters: immutable, with parents, like commits; diff, merge, blame, bisect, files."""
