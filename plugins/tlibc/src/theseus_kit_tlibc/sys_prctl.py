"""sys/prctl.h: what a thread tells of itself to others: its name."""

from __future__ import annotations

from typing import ClassVar

from theseus_kit.errors import InvalidParameterError
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function
from theseus_kit_tlibc.pthread import NAME_SIZE, name_of

PR_SET_NAME, PR_GET_NAME = 15, 16


class SysPrctl(Header):
    header: ClassVar[str] = "sys/prctl.h"

    @c_function(
        "int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, "
        "unsigned long arg5)",
        system_call=157,
        on_error=MINUS_ONE,
    )
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
