"""Language and embedding models as async functions of a request: providers, transport, local
weights, wrappers.

Requests and replies themselves are in `lmflow.messages`.
"""
