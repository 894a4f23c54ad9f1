"""Signatures: typed inputs and outputs, how they are written, read, converted and described as JSON
schema.
"""
