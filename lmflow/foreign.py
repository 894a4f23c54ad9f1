"""Signatures from the JSON schemas of other systems, such as tools of MCP servers."""

from lmflow.signatures.from_json_schema import import_schema as foreign

__all__ = ["foreign"]
