"""The command line `lmflow` and the pytest plugin; everything they do is built from `lmflow`."""
