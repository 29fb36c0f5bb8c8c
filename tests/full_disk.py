"""A simulated full disk, for one process."""

import resource
from contextlib import contextmanager


@contextmanager
def no_file_above(size):
    """Let the system refuse to make any file longer than `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
