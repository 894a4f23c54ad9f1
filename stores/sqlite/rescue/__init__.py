"""Rescues what a damaged store still has: pages, records, rows, and a new store made of them."""
