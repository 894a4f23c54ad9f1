"""Acts that several commands share: run jobs, move refs, write rows; parses no command line."""
