"""Telemetry as values: recordings as spans of OpenTelemetry, and spans of others as recordings."""
