"""Training in a frozen base: datasets, the modules that learn, the loss, the one loop; and training of layout priors.

Clips and captions come in, weight files go out. May import: models, host.contract.
"""
