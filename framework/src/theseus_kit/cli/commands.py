"""The commands' table, and how errors become messages and exit statuses.

0    done                         2    a user's mistake, one line on stderr
134  a WebAssembly trap           70   a plugin's or the kit's own mistake
130  interrupted                  124  the time allowed is over
1    another error of Wasmtime's; results that cannot be written
     the program's own status where it exits with one
"""

from __future__ import annotations

import errno
import sys
from importlib import import_module

import typer

from theseus_kit.cli.exit_status import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_SOFTWARE,
    EXIT_TRAP,
    EXIT_USAGE,
)
from theseus_kit.errors import (
    DeadlockError,
    GuestError,
    GuestKilled,
    PluginError,
    TheseusKitError,
    UsageError,
)

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_COMMANDS = {
    "assemble": ("theseus_kit.cli.assemble", "assemble_command"),
    "check": ("theseus_kit.cli.check", "check_command"),
    "inject": ("theseus_kit.cli.inject", "inject_command"),
    "matrix": ("theseus_kit.cli.matrix", "matrix_command"),
    "needs": ("theseus_kit.cli.needs", "needs_command"),
    "new-plugin": ("theseus_kit.cli.new_plugin", "new_plugin_command"),
    "plugins": ("theseus_kit.cli.plugins", "plugins_command"),
    "python": ("theseus_kit.cli.python", "python_command"),
    "spec": ("theseus_kit.cli.spec", "spec_command"),
    "symbolicate": ("theseus_kit.cli.symbolicate", "symbolicate_command"),
    "wasi-tests": ("theseus_kit.cli.wasi_tests", "wasi_tests_command"),
}
# What follows a module or a program to run belongs to it, whatever it looks like; and click must
# not take python's -m for an option of its own.
_SETTINGS = {
    "assemble": {"allow_interspersed_args": False},
    "inject": {"allow_interspersed_args": False},
    "python": {"allow_interspersed_args": False, "ignore_unknown_options": True},
}


def named_command() -> str | None:
    """The command that the command line names, None if it names none there is."""
    return next((name for name in sys.argv[1:2] if name in _COMMANDS), None)


def run() -> int:
    """Run the command line; return the exit status."""
    try:
        status = _application(named_command())(standalone_mode=False)
    except UsageError as error:
        return fail(str(error), EXIT_USAGE)
    except PluginError as error:
        return fail(_with_causes(error), EXIT_SOFTWARE)
    except GuestError as error:
        return fail(_guest_error(error), EXIT_TRAP)
    except TheseusKitError as error:
        return fail(str(error), EXIT_SOFTWARE)
    except BrokenPipeError:
        return EXIT_FAILURE  # whoever read the results wants no more of them
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return fail(f"cannot write the results: {error.strerror}", EXIT_FAILURE)
    except (KeyboardInterrupt, typer.Abort):  # typer makes the one of the other
        return fail("interrupted", EXIT_INTERRUPTED)
    except Exception as error:
        show = getattr(error, "show", None)  # click's own errors know how to show themselves
        if show is None:
            raise
        show()
        return EXIT_USAGE
    return status if isinstance(status, int) else 0


def _application(named: str | None) -> typer.Typer:
    """The commands' table; where one of them is named, just that one's module is imported."""
    app = typer.Typer(
        name="theseus-kit",
        help="Run the real Wasmtime on a platform made of swappable plugins.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_no_options)  # keeps a table of one command a table
    for name in _COMMANDS if named is None else (named,):
        module, function = _COMMANDS[name]
        command = getattr(import_module(module), function)
        app.command(name, context_settings=_SETTINGS.get(name))(command)
    return app


def _no_options() -> None:
    """Run the real Wasmtime on a platform made of swappable plugins."""


def fail(message: str, status: int) -> int:
    """Print a message on stderr; return the exit status."""
    print(f"theseus-kit: {message}", file=sys.stderr)
    return status


def _with_causes(error: BaseException) -> str:
    """The error, and what caused it, a line each with the place in the plugin."""
    lines = [str(error)]
    cause = error.__cause__
    while cause is not None:
        lines.append(f"  caused by {type(cause).__name__}: {cause}{_place(cause)}")
        cause = cause.__cause__
    return "\n".join(lines)


def _place(error: BaseException) -> str:
    """Where an error was raised, empty if nobody knows."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name})" if frames else ""


def _guest_error(error: GuestError) -> str:
    lines = [str(error)]
    if isinstance(error, GuestKilled):
        from theseus_kit.cli.backtrace import backtrace_lines, stuck_lines

        if isinstance(error, DeadlockError):
            lines += stuck_lines(error)
        else:
            lines += backtrace_lines(error.backtrace)
    return "\n".join(lines)
