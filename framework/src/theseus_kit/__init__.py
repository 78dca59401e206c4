"""theseus-kit: the real Wasmtime on a platform made of swappable plugins.

::

    from theseus_kit import assemble

    with assemble(["region", "signals", "backtrace", "path", "tlibc"]) as platform:
        wasmtime = platform.wasmtime
        store = wasmtime.Store()
        ...

This module has the public names; plugins import nothing else of the kit.
"""
