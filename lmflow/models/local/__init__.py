"""Models that run on this machine: weights, and the llama.cpp process that serves them."""
