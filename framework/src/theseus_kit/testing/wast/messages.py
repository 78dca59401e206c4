"""Whether Wasmtime's message says what a script expects.

The suite quotes the reference interpreter's words; another runtime may use its own. Where
Wasmtime's differ, the table below says how, the same differences that Wasmtime's own runner of
the suite knows (bytecodealliance/wasmtime, crates/wast/src/wast.rs, ``assert_trap``). Beyond the
table the expected text has to occur in the message.

Messages of ``assert_invalid`` and ``assert_malformed`` are not compared, as Wasmtime's own runner
does not: parser and validator word every one of their thousand errors in their own way.
"""

from __future__ import annotations

# What the script may expect (all of the words) -> what Wasmtime may say instead (one of them).
_EQUIVALENT: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    # bulk.wast: the trap does not carry which element it is.
    (("uninitialized element 2",), ("uninitialized element",)),
    # call_ref and call_indirect of null are one trap or the other.
    (("null function",), ("uninitialized element", "null reference")),
    # "null structure reference", "null array reference" …: the trap does not carry the type.
    (("null", "reference"), ("null reference",)),
)

THROWN_EXCEPTION = "thrown Wasm exception"
"""What Wasmtime calls an exception that left WebAssembly."""


def says(message: str, expected: str) -> bool:
    """Tell whether a message of Wasmtime's (cause included) means the expected text."""
    if expected in message:
        return True
    return any(
        all(word in expected for word in words) and any(word in message for word in instead)
        for words, instead in _EQUIVALENT
    )


def cause(error: BaseException) -> str:
    """Return the last line of an error's text: below the backtrace Wasmtime puts the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
