"""Traces on the wire: the exporter that follows a store, and the receiver of others' spans."""
