"""The jobs of an executor that are more than runs of given rollouts: replays, evaluations and
optimizations. Here they meet models and stores; what they are, purely, is in their own packages.
"""
