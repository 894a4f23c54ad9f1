"""Records of what happened: traces, runs, the events that build them, the store protocol,
redaction, refs.

How a program is executed is in `lmflow.execution`; how recordings are kept on disk is in
`lmflow.stores`.
"""
