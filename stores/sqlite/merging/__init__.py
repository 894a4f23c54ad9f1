"""Merges one SQLite store into another: by hash, in batches that each stand alone.

What a batch brings is complete, so a merge that is killed is done again and goes on. The source is
attached to the connection that writes as ``src``; ids of rows differ from file to file and are
mapped in temporary tables.
"""
