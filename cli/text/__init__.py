"""From values to words for the terminal."""
