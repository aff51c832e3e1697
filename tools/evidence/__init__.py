"""Measure what the demo model does, with controls: one file for each part of what is measured."""
