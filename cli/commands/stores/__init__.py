"""The commands that read, copy, check, clean and rescue the store itself."""
