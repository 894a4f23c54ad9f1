"""The commands, one module per family; what several share lies in `actions`, `loading`, `text`."""
