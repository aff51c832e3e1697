"""ComfyUI, by our adapter, keeps the port's contract."""

from frameloom.tests.support.port_contract import *  # noqa: F403  the tests, which pytest finds by name
