"""Lists of runs, executions and calls: what conditions choose, and what it cost."""
