"""What every test counts on, however pytest was started."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Have Ctrl-C interrupt: a shell starts what it puts into the background with SIGINT ignored,
    and whatever a test starts would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
