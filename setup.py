"""The packages of the distribution, found; all else of it stands in pyproject.toml.

The import name maps to the repository's root, which setuptools' own search has no setting for.
"""

from setuptools import find_packages, setup

LAYERS = ("headless", "host", "language", "models", "nodes", "training")
FOUND = find_packages(include=[pattern for layer in LAYERS for pattern in (layer, f"{layer}.*")])

setup(
    packages=["frameloom", *(f"frameloom.{name}" for name in FOUND)],
    script_name="setup.py",  # by which setuptools knows that this file, beside the package's own, is none of them
)
