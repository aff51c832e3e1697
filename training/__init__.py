"""Training in a frozen base: the one loop, data sets, what learns of a motion module, and layout priors.

``loop``, ``team``, ``board``, ``metrics_log`` and ``shapes`` serve every training; ``video`` reads clips from files,
``motion``, ``layout`` and ``language`` are the three trainings. May import ``models`` and ``host.contract``.
"""
