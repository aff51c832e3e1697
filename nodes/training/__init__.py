"""Data sets, training of motion modules and layout priors, and saving of what was trained."""
