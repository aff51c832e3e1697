"""A fuzz of the headless runner: mutated workflows and damaged files, each run by the command itself.

What it knows: ``graphs`` mutates workflows, ``damage`` spoils bytes and tensors, ``files`` says which files there are
and what reads them, ``case`` runs one case in a process of its own, ``verdict`` judges what it left.
"""
