"""The host's errors as the platform's: one place where an OSError becomes a PlatformError."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from theseus_kit.errors import PlatformError


def path_error(number: int, text: str) -> PlatformError:
    """A PlatformError with an errno and the message the host has for it."""
    return PlatformError(f"{text}: {os.strerror(number)}", number)


@contextmanager
def host_errors(text: str) -> Iterator[None]:
    """Turn an OSError of the body into a PlatformError with the same errno, about ``text``.

    OverflowError counts as EINVAL: it is how Python says that an offset or a size does not fit
    the host's types.
    """
    try:
        yield
    except OSError as error:
        raise path_error(error.errno or errno.EIO, text) from error
    except OverflowError as error:
        raise path_error(errno.EINVAL, text) from error
