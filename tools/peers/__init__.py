"""A step of one clip with Frameloom, with AnimateDiff-Evolved and with diffusers, at the sizes that people use."""
