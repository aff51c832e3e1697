"""ComfyUI, by our adapter, trains a motion module and nothing else."""

from frameloom.tests.support.training_contract import *  # noqa: F403  the tests, which pytest finds by name
