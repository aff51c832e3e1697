"""The headless host and its demo model, to train on."""

from frameloom.tests.support.headless_host import demo, port

__all__ = ["demo", "port"]
