"""Scripts to storyboards: rules, language models, layout priors, and other people's formats of layouts.

Texts come in, storyboards go out. May import: models, host.contract.
"""
