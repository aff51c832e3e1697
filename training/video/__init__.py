"""Clips from people's files: videos, animations and numbered pictures, cut by time, upright, with their captions.

May import ``models.errors`` alone.
"""
