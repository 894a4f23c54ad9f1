"""The web view of a store: runs, traces, comparisons and what-if plans in a browser."""
