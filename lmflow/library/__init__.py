"""Programs that are shipped: search operators, retrieval, agents, writing, classification and
extraction.

Each is built from the public parts of `lmflow.programs`; the core never imports them.
"""
