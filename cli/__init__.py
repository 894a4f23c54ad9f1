"""The command line `lmflow` and the pytest plugin."""
