"""Turns the words of a command line into programs, data sets, metrics and jobs; runs nothing."""
