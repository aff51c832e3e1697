"""One training of a motion module, a motion LoRA or an adapter: data set, encoded cache, lessons, targets, the run.

May import ``training.video``, the files beside ``training``'s rooms, ``models`` and ``host.contract``.
"""
