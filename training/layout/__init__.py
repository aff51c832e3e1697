"""One training of a layout prior: its scenes, its loss, and a report beside controls.

May import the files beside ``training``'s rooms, and ``models``.
"""
