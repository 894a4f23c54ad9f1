"""Parts of runs of many executions: side by side execution, and what it comes to."""
