"""What a clip is, whatever makes it: the names of shapes, and a LATENT socket's value as the frames of a clip.

Knows no network and no technique; imports ``models.errors`` alone.
"""
