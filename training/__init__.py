"""Training in a frozen base: the one loop, data sets, what learns of a motion module, and layout priors.

``loop``, ``team``, ``board``, ``metrics_log`` and ``shapes`` serve every training; ``video`` reads clips from files,
``motion`` and ``layout`` are the two trainings. May import ``models`` and ``host.contract``.
"""
