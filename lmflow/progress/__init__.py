"""Progress of long work: the value that describes it, where it is shown, and what shows it."""
