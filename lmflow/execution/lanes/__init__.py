"""Waves: requests of batched models that wait for each other, and the batches that carry them."""
