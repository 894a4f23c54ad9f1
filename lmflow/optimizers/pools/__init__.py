"""Pools of versions that grow from their own runs: ``candidates`` is GEPA's, ``population``
SIMBA's.
"""
