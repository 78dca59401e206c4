"""The hooks as plugins and the framework call them, straight where nothing stands between.

pluggy makes every call ready for any number of implementations and wrappers, and for somebody who
watches. Nearly all questions of a platform have one implementation and nobody around it: then an
attribute of :class:`Hooks` is a function that calls it, thirty times as fast, and everything else
is as with pluggy: keyword arguments, None for no answer, and a plugin's own errors blamed on it.

::

    hooks.memory_map(request=…)
      one implementation, no wrapper, nobody watches   → a function made for this hook → plugin
      anything else                                    → pluggy's HookCaller → … → plugin

The functions are found when a hook is first called, and forgotten when a plugin comes or goes or
somebody starts to watch: what they call is always what pluggy would call. Making one takes as long
as some hundred calls, and many hooks are called a few times in all: so one for any arguments does
the first calls.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

if TYPE_CHECKING:
    from theseus_kit.assembly.manager import PlatformPluginManager

DirectCall: TypeAlias = Callable[..., Any]
Blame: TypeAlias = Callable[[Exception, str, "pluggy.HookImpl", dict[str, object]], None]
"""Raises what a plugin's error becomes, or returns where the error is nobody's fault."""


CALLS_BEFORE = 32
"""Calls of a hook before a function is made for it."""


class Hooks:
    """What ``manager.hook`` is, with shorter ways; an attribute for each hook.

    To those who call hooks it is pluggy's HookRelay, which is final: no class can be derived of it.
    """

    def __init__(self, manager: PlatformPluginManager) -> None:
        self._manager = manager

    def __getattr__(self, name: str) -> Any:
        """Find a hook that was not called yet, or not since a plugin came."""
        if name.startswith("_"):
            raise AttributeError(name)  # no hook is named so; copying an object asks for such
        caller = getattr(self._manager.hook, name)

        def settle(made: DirectCall) -> None:
            if vars(self).get(name) is way:  # and was not forgotten meanwhile
                setattr(self, name, made)

        way = self._manager.direct_call(caller, settle) or caller
        setattr(self, name, way)
        return way

    def forget(self) -> None:
        """Find every hook anew: there are other plugins than before, or somebody watches."""
        for name in [name for name in vars(self) if not name.startswith("_")]:
            delattr(self, name)


def direct_call(
    caller: pluggy.HookCaller, blame: Blame, settle: Callable[[DirectCall], object]
) -> DirectCall | None:
    """Return what a call of a hook comes down to, None if it is more than one call.

    Hooks that gather every plugin's answer are left to pluggy: none of them is called often.
    ``settle`` is given what is to take the place of the function once it was called a few times.
    """
    specification = caller.spec
    implementations = caller.get_hookimpls()
    if specification is None or not specification.opts["firstresult"] or len(implementations) != 1:
        return None
    only, names = implementations[0], specification.argnames
    if only.wrapper or only.hookwrapper or set(only.argnames) != set(names):
        return None  # it may ask for fewer arguments than there are
    function, hook, calls = only.function, caller.name, 0
    made: DirectCall | None = None

    def call(**arguments: object) -> object:
        nonlocal calls, made
        calls += 1
        if calls > CALLS_BEFORE:
            if made is None:
                made = _maker(names)(function, hook, only, blame)
                settle(made)
            return made(**arguments)
        try:
            return function(**arguments)
        except Exception as error:
            blame(error, hook, only, arguments)
            raise

    return call


@lru_cache(maxsize=256)
def _maker(names: tuple[str, ...]) -> Callable[..., DirectCall]:
    """Return what makes the calls of hooks with these arguments."""
    given = "*, " + ", ".join(names) if names else ""
    passed = ", ".join(f"{name}={name}" for name in names)
    values = ", ".join(f"'{name}': {name}" for name in names)
    scope: dict[str, Any] = {}
    # Hooks' arguments are identifiers: the text is made of nothing else.
    exec(
        "def make(_function, _hook, _implementation, _blame):\n"
        f"    def call({given}):\n"
        "        try:\n"
        f"            return _function({passed})\n"
        "        except Exception as _error:\n"
        f"            _blame(_error, _hook, _implementation, {{{values}}})\n"
        "            raise\n"
        "    return call\n",
        scope,
    )
    maker: Callable[..., DirectCall] = scope["make"]
    return maker
