"""The shipped programs: search operators, retrieval, agents, writing, classification, extraction.

Each is built from the public parts of `lmflow.programs`; the core never imports them.
"""
