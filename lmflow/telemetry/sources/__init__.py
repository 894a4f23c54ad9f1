"""What other systems write, read as raw spans: one module a system."""
