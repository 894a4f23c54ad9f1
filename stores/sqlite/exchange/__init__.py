"""What a store exchanges with other systems: a feed of what ended, a spool of what arrives."""
