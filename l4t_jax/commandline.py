"""Command lines made from dataclasses by tyro, with every mistake answered in one sentence.

Host module, imports nothing of the package but its errors, and nothing heavy: `--help` and a mistyped option answer at
once.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import math
import sys
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from l4t_jax.errors import OptionError

T = TypeVar("T")
BAD_OPTION = 2  # the exit code for a mistake on the command line


def callable_as(module: str, function: Callable[..., Any]) -> None:
    """Makes a command's module callable: `l4t_jax.NAME` is the module, and the function of its name too."""

    class Both(types.ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    sys.modules[module].__class__ = Both


def docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass and of those it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(base))).body[0]
        except (OSError, TypeError, SyntaxError):
            continue
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found


def flag(name: str) -> str:
    """A field's option."""
    return "--" + name.replace("_", "-")


def _plain(hint: Any) -> Any:
    """A field's type without None."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(arg for arg in get_args(hint) if arg is not type(None))
    return hint


def parse[T](
    cls: type[T], argv: Sequence[str], prog: str, description: str, defaults: Callable[[str], str | None] | None = None
) -> T:
    """A dataclass from a command line; prints the help and exits 0 if that is asked for.

    Args:
        cls: dataclass of strings, numbers, choices and flags (False by default); a field marked with
            `metadata={"positional": True}` takes no option.
        argv: without the program's name.
        prog: how the command is called.
        description: stands above the options.
        defaults: what `--help` says of the default of a field whose default is None.

    Raises:
        OptionError: with what would be right.
    """
    import tyro

    hints, fields, said = get_type_hints(cls), dataclasses.fields(cls), docs(cls)  # pyright: ignore
    words = _checked(argv, {field.name: _plain(hints[field.name]) for field in fields}, fields)
    shown = []
    for field in fields:
        positional = field.metadata.get("positional", False)
        default = field.default
        hint = None
        if default is None:
            hint = f"(default: {(defaults and defaults(field.name)) or 'none'})"
        elif isinstance(default, bool):
            hint = ""
        extras: list[Any] = [tyro.conf.arg(help=said.get(field.name), help_behavior_hint=hint)]
        plain = _plain(hints[field.name])
        if default is None:  # "INT", not "{None}|INT"
            name = "{" + ",".join(get_args(plain)) + "}" if get_origin(plain) is Literal else plain.__name__.upper()
            extras = [tyro.conf.arg(help=said.get(field.name), help_behavior_hint=hint, metavar=name)]
        if positional:
            extras = [tyro.conf.arg(help=said.get(field.name), metavar=field.name.upper()), tyro.conf.Positional]
        annotated: Any = hints[field.name]
        for extra in extras:
            annotated = Annotated[annotated, extra]
        again = dataclasses.field() if default is dataclasses.MISSING else dataclasses.field(default=default)
        shown.append((field.name, annotated, again))
    alike = dataclasses.make_dataclass(cls.__name__, shown, frozen=True, kw_only=True)
    config = (tyro.conf.FlagCreatePairsOff,)
    parsed = tyro.cli(alike, args=words, prog=prog, description=description, config=config)
    return cls(**{field.name: getattr(parsed, field.name) for field in fields})


def given(cls: type, argv: Sequence[str]) -> list[str]:
    """The fields of a dataclass whose options stand on a command line that `parse` takes."""
    hints, fields = get_type_hints(cls), dataclasses.fields(cls)
    words = _checked(argv, {field.name: _plain(hints[field.name]) for field in fields}, fields)
    return [field.name for field in fields if flag(field.name) in words]


def _checked(argv: Sequence[str], kinds: dict[str, Any], fields: Sequence[dataclasses.Field]) -> list[str]:
    """The words of a command line, options spelled with dashes and whole numbers written out.

    Raises:
        OptionError: with what would be right.
    """
    positional = [field.name for field in fields if field.metadata.get("positional")]
    options = {flag(name): name for name in kinds if name not in positional}
    words: list[str] = []
    given, waiting = list(argv), list(positional)
    if any(word in ("-h", "--help") for word in given):
        return ["--help"]
    while given:
        word = given.pop(0)
        if not word.startswith("-") or word == "-":
            if not waiting:
                raise OptionError(f"{word!r} is not an option; options begin with --, see --help")
            waiting.pop(0)
            words.append(word)
            continue
        option, equals, value = word.partition("=")
        option = "--" + option.lstrip("-").replace("_", "-").lower()
        if option not in options:
            near = difflib.get_close_matches(option, [*options, "--help"], n=3, cutoff=0.5)
            near += [known for known in options if known not in near and option[2:] and option[2:] in known][
                : 3 - len(near)
            ]
            raise OptionError(
                f"there is no option {option}; " + (f"did you mean {_or(near)}?" if near else "see --help")
            )
        kind = kinds[options[option]]
        if kind is bool:
            if equals:
                raise OptionError(f"{option} takes no value")
            words.append(option)
            continue
        if not equals:
            if not given or given[0].startswith("--"):
                raise OptionError(f"{option} needs a value: {_kind(kind)}")
            value = given.pop(0)
        words += [option, _value(option, kind, value)]
    if waiting:
        raise OptionError(f"{waiting[0].replace('_', ' ').upper()} is missing; see --help")
    return words


def _value(option: str, kind: Any, value: str) -> str:
    if get_origin(kind) is Literal:
        choices = list(get_args(kind))
        if value in choices:
            return value
        near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? It takes {_or(choices)}" if near else f"it takes {_or(choices)}"
        raise OptionError(f"{option} cannot be {value!r}; {hint}")
    if kind in (int, float):
        try:
            number = float(value.replace("_", ""))
            if not math.isfinite(number) or (kind is int and not number.is_integer()):
                raise ValueError
        except ValueError as error:
            raise OptionError(f"{option} takes {_kind(kind)}, not {value!r}") from error
        if kind is int:
            try:
                return str(int(value))
            except ValueError:
                return str(int(number))  # 2e6
    return value


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return _or(list(get_args(kind)))
    return {int: "a whole number", float: "a number"}.get(kind, "a word")


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
