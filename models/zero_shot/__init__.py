"""Text2Video-Zero: warped latents, cross-frame attention, foreground masks, background smoothing. No weights.

May import the rooms before the techniques, and no other technique.
"""
