"""Writing events as rows: the writer thread, its bulk statements, versions and refs.

How rows are read back is in the modules beside this package.
"""
