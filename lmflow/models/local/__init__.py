"""Models that run on this machine: their weights, and the llama.cpp server process that serves
them.
"""
