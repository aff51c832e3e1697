"""Models from files: names of weights, networks of plain sizes, checkpoints, ControlNets, LoRAs, GLIGEN.

May import ``samplers``, ``text`` and ``models``.
"""
