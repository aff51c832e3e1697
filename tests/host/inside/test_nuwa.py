"""NUWA-XL's nodes in ComfyUI."""

from frameloom.tests.support.nuwa_contract import *  # noqa: F403  the tests, which pytest finds by name
