"""The commands, one module per family; modules named `_x` hold what several families share."""
