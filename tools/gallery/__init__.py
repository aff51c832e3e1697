"""The pictures that people see before they have run anything, all drawn by ``make gallery``.

``demo`` turns each workflow into a graph that the bundled demo model can draw, ``draw`` runs it headless and keeps what
came out, ``pictures`` makes files of it, ``page`` writes ``docs/gallery.md``, and ``__main__`` is the command.
"""
