"""Programs that write long texts or shorten them: summaries, reports, and the cutting of what is
too long.
"""
