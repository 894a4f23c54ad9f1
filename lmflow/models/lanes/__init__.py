"""Batch lanes of providers: requests that are answered within a day, at half the price.

How a provider's batches are submitted, found again and read; the executor decides when.
"""
