"""From the words of a command line to objects: programs, data sets, metrics, and recorded work."""
