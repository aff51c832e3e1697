"""What of a frozen network's work an edit may change, what it is told, and how several edits compose.

An ``Edit`` has a part for each seam that it changes; hosts put seams on their networks and ask ``active`` what acts.
Nothing here knows a technique or a host. May import: errors, network, video.
"""
