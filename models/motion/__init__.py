"""Motion modules: temporal layers that run in the slots of a frozen network, and what is trained beside them.

May import: errors, network, files, video, edits, storyboard; no other technique.
"""
