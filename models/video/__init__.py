"""Clips, whatever makes them: shapes by name, a LATENT socket's value as frames, and what can be said of frames alone.

Read ``shapes`` first: its names and letters are used everywhere. Comes in what needs neither a network nor a technique;
imports ``models.errors`` alone.
"""
