"""Commands that list recorded calls and what they cost."""
