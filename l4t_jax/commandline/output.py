"""What every command does with its errors and its output: a sentence on standard error, one JSON object, an exit code.

Host module, for the command modules alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from l4t_jax.commandline.options import in_options
from l4t_jax.errors import OptionError, Refusal, missing_platform

BAD_OPTION = 2  # the exit code for a mistake on the command line


def callable_as(module: str, function: Callable[..., Any]) -> None:
    """Makes a command's module callable: `l4t_jax.NAME` is the module, and the function of its name too."""

    class Both(types.ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    sys.modules[module].__class__ = Both


def guarded(command: Callable[[], int], names: Iterable[str] = ()) -> int:
    """Runs a command; refusals and the package's own warnings become one sentence each on standard error.

    Args:
        command: gives the exit code.
        names: the settings that are options of the command; those of `Config` always are.

    Returns:
        The exit code: the command's, 2 for what is refused or went wrong, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with warnings.catch_warnings():
            show = warnings.showwarning

            def shown(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
                if category.__module__.partition(".")[0] != "l4t_jax":
                    return show(message, category, *rest, **more)
                print(f"warning: {_printable(str(message))}", file=sys.stderr)

            warnings.showwarning = shown
            return command()
    except Refusal as error:
        refusal: Exception = error
    except KeyboardInterrupt as error:
        print(f"\n{_said(error, names) or 'stopped'}", file=sys.stderr)
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(getattr(error, "code", 130))  # a block that is still being computed would hold up an ordinary exit
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (RuntimeError, AssertionError) as error:
        missing = missing_platform(error)
        if missing is None:
            raise
        refusal = missing
    print(f"error: {_said(refusal, names)}", file=sys.stderr)
    return BAD_OPTION


def _said(error: BaseException, names: Iterable[str]) -> str:
    from l4t_jax.config import Config

    settings = [field.name for field in dataclasses.fields(Config)]
    text = str(error)
    return _printable(text if isinstance(error, OptionError) else in_options(text, {*settings, *names}))


def _printable(text: str) -> str:
    """A sentence in one line, whatever stands in an option or a file's name."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextlib.contextmanager
def json_only(wanted: bool) -> Iterator[None]:
    """Keeps whatever else prints off standard output: only `print_json` writes there."""
    global _out
    if not wanted:
        yield
        return
    sys.stdout.flush()
    _out = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(_out, 1)
        os.close(_out)
        _out = 1


_out = 1


def print_json(value: Any) -> None:
    """Prints one JSON object on the real standard output; numbers that are not finite are null."""
    from l4t_jax.files import dumps

    text = (dumps(value, indent=1) + "\n").encode()
    while text:
        text = text[os.write(_out, text) :]
