"""Immutable values: records, media, vectors and functions, with their canonical form, digests and
printed form. What a value is used for (versions, messages, data sets) lives elsewhere.
"""
