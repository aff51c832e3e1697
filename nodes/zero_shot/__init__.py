"""Text2Video-Zero: its sampler, cross-frame attention, motion paths, foreground masks, background smoothing."""
