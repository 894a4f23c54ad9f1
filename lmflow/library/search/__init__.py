"""Operators that search for better outputs at inference time: samples, votes, best of n, refine,
beam, cascades.
"""
