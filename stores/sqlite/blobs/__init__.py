"""Content-addressed blobs: their format, and how they are written, read and checked.

Which rows name a blob is in `lmflow.stores.sqlite.writing`; which blobs are garbage is in
`lmflow.stores.sqlite.reachability`.
"""
