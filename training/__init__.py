"""Training in a frozen base: data sets, what learns, targets, the one loop; and that of layout priors."""
