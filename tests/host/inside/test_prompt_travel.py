"""Prompt Travel in ComfyUI keeps its contract."""

from frameloom.tests.support.travel_contract import *  # noqa: F403  the tests, which pytest finds by name
