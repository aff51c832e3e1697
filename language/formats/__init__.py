"""Layouts as other people write them: a reader for each format, a writer for some, and a guess at which it is.

Texts come in, storyboards go out. May import: models.
"""
