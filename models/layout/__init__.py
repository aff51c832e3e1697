"""Entities in their boxes: attention biases, gathered effects, guidance by an energy, and GLIGEN.

May import the rooms before the techniques, and no other technique.
"""
