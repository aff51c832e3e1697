"""The headless host keeps the port's contract."""

from frameloom.tests.support.energy_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.free_noise_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.headless_host import *  # noqa: F403  the host
from frameloom.tests.support.mask_adapter_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.port_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.training_contract import *  # noqa: F403  the tests, which pytest finds by name
from frameloom.tests.support.windows_contract import *  # noqa: F403
