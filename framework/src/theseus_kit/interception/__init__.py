"""Seeing every call of a platform, or failing it: the seam that ``trace`` and ``inject`` stand on.

A platform's calls are of three kinds: hooks, C functions and system calls. An
:class:`Interceptor` is a plugin that says which of them it wants, and is then told before and after
each; what it raises before a call is what the call fails with. Only what it wants is wrapped:
everything else is called exactly as without it.

::

    guest: mmap → system call 9 ─► Interception.before ─► body of the plugin that serves it
                                                            └─ hook memory_map ─► before ─► provider
                                                                              ◄─ after ◄──┘
                                ◄─ after ◄──────────────────┘

For one hook, ``@hookimpl(wrapper=True)`` is simpler; this is for those who want many.
"""

from theseus_kit.interception.calls import CallKind, CallPattern, PlatformCall, parse_patterns
from theseus_kit.interception.interceptor import Interception, Interceptor

__all__ = [
    "CallKind",
    "CallPattern",
    "Interception",
    "Interceptor",
    "PlatformCall",
    "parse_patterns",
]
