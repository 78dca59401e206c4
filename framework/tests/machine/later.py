"""What comes from another thread while guest code runs, however long that takes to begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def later(
    seconds: float, action: Callable[[], object], when: Callable[[], bool] = lambda: True
) -> threading.Thread:
    """Do something on another thread: after a time, and not before ``when`` holds.

    An action that answers False, as an interrupt does while there is nothing to interrupt, is
    repeated.
    """

    def run() -> None:
        time.sleep(seconds)
        while not when() or action() is False:
            time.sleep(0.002)

    thread = threading.Thread(target=run)
    thread.start()
    return thread
