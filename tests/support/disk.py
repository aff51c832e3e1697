"""A disk that is full: a limit on the size of files is the same to who writes."""

from __future__ import annotations

import resource
from contextlib import contextmanager


@contextmanager
def room_for(size):
    """No file of this process grows beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
