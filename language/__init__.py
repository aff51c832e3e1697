"""Language models: endpoints, local models, planners, and other people's formats of layouts."""
