"""A frozen network as data: its sizes, where its layers lie, and layers that several techniques are made of.

What comes in is numbers; nothing here knows a host's classes or a technique. It imports nothing else of the pack.
"""
