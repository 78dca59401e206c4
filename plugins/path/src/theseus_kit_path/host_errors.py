"""Errors: the one place where an OSError becomes a PlatformError.

Trees of files, the host's and those in memory, say no by OSError, as the os module does; what
leaves the plugin is a PlatformError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from theseus_kit.errors import PlatformError


def path_error(number: int, text: str) -> PlatformError:
    """A PlatformError with an errno and the message the host has for it."""
    return PlatformError(f"{text}: {os.strerror(number)}", number)


def as_platform_error(error: OSError | OverflowError, text: str) -> PlatformError:
    """The same refusal as a PlatformError, about ``text``.

    OverflowError counts as EINVAL: it is how Python says that an offset or a size does not fit
    the host's types.
    """
    number = errno.EINVAL if isinstance(error, OverflowError) else error.errno or errno.EIO
    return path_error(number, text)


@contextmanager
def host_errors(text: str) -> Iterator[None]:
    """Turn an OSError of the body into a PlatformError with the same errno, about ``text``."""
    try:
        yield
    except (OSError, OverflowError) as error:
        raise as_platform_error(error, text) from error


def os_error(number: int) -> OSError:
    """An OSError as the host would raise it."""
    return OSError(number, os.strerror(number))
