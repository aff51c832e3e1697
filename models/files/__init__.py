"""Files of others and of our own: read without trust, written whole or not at all.

Texts and bytes come in. May import: models.errors.
"""
