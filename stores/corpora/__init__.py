"""Corpora of passages: documents in, BM25 and dense search out."""
