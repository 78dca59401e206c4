"""sys/prctl.h: what a thread tells of itself to others: its name."""

from __future__ import annotations

from theseus_kit.errors import InvalidParameterError
from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.pthread import NAME_SIZE, name_of

PR_SET_NAME, PR_GET_NAME = 15, 16


class Bodies(DeferredBodies):
    """The functions of sys/prctl.h."""

    def prctl(self, option: int, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
        """A longer name is cut. EINVAL for what this platform knows nothing of."""
        memory, task = self.library.memory, self.library.task
        if option == PR_SET_NAME:
            text = memory.read_string(arg2)[: NAME_SIZE - 1]
            task.name = text.decode("utf-8", "surrogateescape")
        elif option == PR_GET_NAME:
            memory.write(arg2, name_of(task))
        else:
            raise InvalidParameterError(f"prctl option {option}")
        return 0
