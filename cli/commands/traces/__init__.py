"""Commands that send recordings to other systems, and take in theirs."""
