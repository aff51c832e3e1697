"""Open, name and write weight files, and keys that stand for finished work.

In comes what is true of any such file; what only motion modules have in theirs is in ``motion``. May import ``errors``
and ``network``.
"""
