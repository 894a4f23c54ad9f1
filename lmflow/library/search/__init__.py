"""Operators that search for better outputs when a program runs: samples, votes, best of n,
refinement, beam search, cascades.
"""
