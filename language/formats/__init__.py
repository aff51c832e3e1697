"""Layouts as other people write them: a reader for each format, a writer for some, and a guess at which it is.

Texts come in, storyboards go out. Whatever reads a text raises ``source.TextError``, which names the line, if the text
is something else. May import: models.
"""
