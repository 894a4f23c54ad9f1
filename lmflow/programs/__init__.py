"""Programs: immutable compositions of named steps, the effects that they await, and how they are
drawn and imported.
"""
