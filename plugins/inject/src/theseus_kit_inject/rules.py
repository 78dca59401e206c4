"""Rules: which call fails, at which of its occurrences, and how.

::

    mmap:3=ENOMEM               the third call that the pattern means, of whatever kind
    syscall.mmap:2+=ENOMEM      the second and every later one
    hook.memory_map:*=ENOMEM@0.1   each one with probability 0.1
    c.pthread_create=EAGAIN     each one
    hook.path_open:1=raise      as a provider with a bug in it
    c.malloc:9=kill             as a function that gives up
"""

from __future__ import annotations

import errno
import re
from enum import Enum
from random import Random
from typing import TypeAlias

from theseus_kit import (
    GuestKilled,
    InvalidParameterError,
    OutOfMemoryError,
    PlatformError,
    PluginError,
    UsageError,
)
from theseus_kit.interception import CallPattern, PlatformCall
from theseus_kit.values.exceptions import Panicked
from theseus_kit.values.linkage import ErrorConvention
from theseus_kit.values.record import NamedTuple

_RULE = re.compile(
    r"(?P<pattern>[^:=@]+)(?::(?P<when>[^=@]+))?=(?P<action>[^@]+)(?:@(?P<probability>.+))?"
)
_WHEN = re.compile(r"(?P<first>[1-9]\d*)(?P<on>\+)?")
_SHAPE = "write it as CALL[:N|:N+|:*]=ERRNO|raise|kill[@PROBABILITY], such as mmap:3=ENOMEM"

ERROR_NUMBERS = {name: number for number, name in errno.errorcode.items()}
"""Numbers by name; of two names of one number (EAGAIN, EWOULDBLOCK) the one that errors show."""
ERROR_NUMBERS |= {"EWOULDBLOCK": errno.EWOULDBLOCK, "ENOTSUP": errno.ENOTSUP}

_ERRORS: dict[int, type[PlatformError]] = {
    errno.ENOMEM: OutOfMemoryError,
    errno.EINVAL: InvalidParameterError,
}
"""What providers raise for a number, where the contract has a name for it."""


class InjectedError(PluginError):
    """What a rule raises in a provider's name, as if it had a bug."""


class Action(Enum):
    """Ways to fail other than with an error number."""

    RAISE = "raise"
    KILL = "kill"


Failure: TypeAlias = int | Action | BaseException
"""An error number, or what is done, or the very error that is raised."""


class Rule(NamedTuple):
    """Which calls fail, and how."""

    pattern: CallPattern
    failure: Failure
    first: int = 1
    """Counts the calls that the pattern means, from 1."""
    last: int | None = None
    """None: from the first on, for ever."""
    probability: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule. Raises UsageError that names the part that is wrong."""
        found = _RULE.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"{text.strip()!r} is no rule: {_SHAPE}")
        first, last = _occurrences(found["when"], text)
        return cls(
            CallPattern.parse(found["pattern"]),
            parse_failure(found["action"], text),
            first,
            last,
            _probability(found["probability"], text),
        )

    def matches(self, call: PlatformCall) -> bool:
        """Whether calls of this are meant; an error number is for those that can report one."""
        return self.pattern.matches(call) and not (self.needs_errno and not can_report(call))

    @property
    def needs_errno(self) -> bool:
        return isinstance(self.failure, int)

    def is_due(self, occurrence: int, random: Random) -> bool:
        """Whether the n-th call that the rule means fails."""
        if occurrence < self.first or (self.last is not None and occurrence > self.last):
            return False
        return self.probability >= 1 or random.random() < self.probability

    def error(self, call: PlatformCall) -> BaseException:
        """Make what is raised in place of a call."""
        failure = self.failure
        if isinstance(failure, BaseException):
            return failure
        message = f"injected into {call}"
        if failure is Action.KILL:
            return GuestKilled(Panicked(message))
        if failure is Action.RAISE:
            return InjectedError(call.plugin or "of the hook", call.name, message)
        assert isinstance(failure, int)
        kind = _ERRORS.get(failure, PlatformError)
        return kind(f"{errno.errorcode[failure]} {message}", failure)

    def __str__(self) -> str:
        when = str(self.first) if self.last == self.first else f"{self.first}+"
        if self.first == 1 and self.last is None:
            when = "*"
        chance = "" if self.probability >= 1 else f"@{self.probability:g}"
        return f"{self.pattern}:{when}={self.action}{chance}"

    @property
    def action(self) -> str:
        """How it fails, as a rule's text says it."""
        failure = self.failure
        if isinstance(failure, Action):
            return failure.value
        return errno.errorcode[failure] if isinstance(failure, int) else repr(failure)


def can_report(call: PlatformCall) -> bool:
    """Whether an error number can reach the caller: not where a C function's type has no room."""
    function = call.function
    return (
        function is None
        or call.kind.value == "syscall"
        or function.on_error is not ErrorConvention.FATAL
    )


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Read rules separated by commas. Raises UsageError."""
    return tuple(Rule.parse(part) for part in text.split(",") if part.strip())


def parse_failure(text: str, rule: str) -> int | Action:
    """Read an error number's name, ``raise`` or ``kill``. Raises UsageError."""
    name = text.strip()
    for action in Action:
        if name == action.value:
            return action
    number = ERROR_NUMBERS.get(name)
    if number is None:
        import difflib  # only what is misspelt needs it

        near = difflib.get_close_matches(name.upper(), ERROR_NUMBERS, n=1, cutoff=0.5)
        meant = f": did you mean {near[0]}?" if near else ": write it as ENOMEM, raise or kill"
        raise UsageError(f"rule {rule.strip()!r}: {name!r} is no error number's name{meant}")
    return number


def _occurrences(when: str | None, rule: str) -> tuple[int, int | None]:
    text = "*" if when is None else when.strip()
    if text == "*":
        return 1, None
    found = _WHEN.fullmatch(text)
    if found is None:
        raise UsageError(
            f"rule {rule.strip()!r}: {text!r} is no occurrence: write 3 for the third call, "
            "3+ for it and all later ones, * for all"
        )
    first = int(found["first"])
    return first, None if found["on"] else first


def _probability(text: str | None, rule: str) -> float:
    if text is None:
        return 1.0
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise UsageError(
            f"rule {rule.strip()!r}: {text!r} is no probability: write a number above 0, at most 1"
        )
    return value
