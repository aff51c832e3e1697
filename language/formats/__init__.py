"""Layouts as other people write them: a reader for each format, writers for some, and which is which."""
