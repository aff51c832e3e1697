"""The command ``frameloom train``: Train Motion Module's work from a TOML file, on one device or several.

May import the rest of ``headless``, ``nodes``, and ``training``.
"""
