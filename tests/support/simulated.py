"""The model world without models, which lmflow's own tests share with those of its users."""

from lmflow.testing.simulated import Answer, Seen, asked_again, by_hash, hashed, kept_going, ran

__all__ = ["Answer", "Seen", "asked_again", "by_hash", "hashed", "kept_going", "ran"]
