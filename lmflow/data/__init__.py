"""Examples: data sets, the readers of files, splits, and the conditions that select rows."""
