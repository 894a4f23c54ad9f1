"""The commands of work on more than one machine: maps over files, shards, merges of stores."""
