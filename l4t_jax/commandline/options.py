"""Command lines made from dataclasses by tyro, and messages from the layers below in a command's words.

Host module, for the command modules alone. The layers below name a setting (`num_envs`); `in_options` writes it as the
option (--num-envs).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import re
import shlex
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from l4t_jax.config import with_home
from l4t_jax.errors import OptionError, did_you_mean, either, near, takes

RENAMED = {"imports": "import"}  # fields whose option has another name: this one is a word of Python's
# What other programs call an option, where its own name is too far from that to be guessed.
ELSEWHERE = {"--task": "--env", "--lr": "--learning-rate", "--model": "--teacher", "--out-dir": "--run-dir"}


def docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass and of those it inherits from, settings written as options."""
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
    known = settings_of(cls)
    return {name: in_options(said, known) for name, said in found.items()}


def flag(name: str) -> str:
    """A field's option."""
    return "--" + RENAMED.get(name, name).replace("_", "-")


def settings_of(cls: type) -> list[str]:
    """The fields of a command: the settings that `in_options` knows."""
    return [field.name for field in dataclasses.fields(cls)]


def in_options(message: str, names: Iterable[str]) -> str:
    """A message from the layers below, as a command says it.

    `num_envs` in backticks becomes --num-envs and `num_envs=64` --num-envs 64; a name with an underscore needs no
    backticks. `train(resume='FOLDER')` becomes the command that goes on with a run.

    Args:
        message: of an error.
        names: the settings that are options of the command.
    """
    known = set(names)

    def resumed(match: re.Match[str]) -> str:
        return f"`python -m l4t_jax.run --resume {shlex.quote(ast.literal_eval(match[1]))}`"

    def quoted(match: re.Match[str]) -> str:
        if match[1] not in known:
            return match[0]
        return flag(match[1]) + (f" {shlex.quote(match[2][1:])}" if match[2] else "")

    message = re.sub(r"`train\(resume=('[^'\n]*'|\"[^\"\n]*\")\)`", resumed, message)
    message = re.sub(r"`([a-z]\w*)(=[^`\n]*)?`", quoted, message)
    bare = "|".join(sorted((name for name in known if "_" in name), key=len, reverse=True))
    if bare:
        message = re.sub(rf"(?<![\w./'\"=-])({bare})(?![\w/'\"=]|\.\w)", lambda match: flag(match[1]), message)
    return message


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
        cls: dataclass of words, numbers, choices, flags (False by default), tuples of a fixed length, and tuples of
            any length, whose option may be given again and again; a field marked with `metadata={"positional": True}`
            takes no option, and if it is of any length, one word or more. A field without a default must be given.
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
        default, plain = field.default, _plain(hints[field.name])
        if field.metadata.get("positional"):
            hint = "(one or more)" if _repeats(plain) else None
            metavar = field.name.upper()
            shown_as = tyro.conf.arg(help=said.get(field.name), metavar=metavar, help_behavior_hint=hint)
            extras = [shown_as, tyro.conf.Positional]
        else:
            extras = [tyro.conf.arg(**_shown(field, plain, said.get(field.name), defaults))]
        annotated: Any = hints[field.name]
        for extra in extras:
            annotated = Annotated[annotated, extra]
        again = dataclasses.field() if default is dataclasses.MISSING else dataclasses.field(default=default)
        shown.append((field.name, annotated, again))
    alike = dataclasses.make_dataclass(cls.__name__, shown, frozen=True, kw_only=True)
    config = (tyro.conf.FlagCreatePairsOff,)
    parsed = tyro.cli(alike, args=words, prog=prog, description=description, config=config)
    return cls(**{field.name: getattr(parsed, field.name) for field in fields})


def _shown(field: dataclasses.Field, plain: Any, said: str | None, defaults: Any) -> dict[str, Any]:
    """How `--help` shows an option: `tyro.conf.arg`'s arguments."""
    found: dict[str, Any] = dict(help=said, name=RENAMED.get(field.name))
    if field.default is None:  # "INT", not "{None}|INT"
        found["help_behavior_hint"] = f"(default: {(defaults and defaults(field.name)) or 'none'})"
        found["metavar"] = "{" + ",".join(get_args(plain)) + "}" if get_origin(plain) is Literal else _metavar(plain)
    elif isinstance(field.default, bool):
        found["help_behavior_hint"] = ""
    elif get_origin(plain) is tuple:
        found |= dict(metavar=_metavar(plain), help_behavior_hint="(may be repeated)")
    return found


def _metavar(plain: Any) -> str:
    if get_origin(plain) is tuple:
        return " ".join(kind.__name__.upper() for kind in get_args(plain) if kind is not Ellipsis)
    return plain.__name__.upper()


def given(cls: type, argv: Sequence[str]) -> list[str]:
    """The fields of a dataclass whose options stand on a command line that `parse` takes."""
    hints, fields = get_type_hints(cls), dataclasses.fields(cls)
    words = _checked(argv, {field.name: _plain(hints[field.name]) for field in fields}, fields)
    return [field.name for field in fields if flag(field.name) in words]


def _checked(argv: Sequence[str], kinds: dict[str, Any], fields: Sequence[dataclasses.Field]) -> list[str]:
    """The words of a command line: options spelled with dashes, whole numbers written out, `~` the home folder.

    Raises:
        OptionError: with what would be right.
    """
    positional = [field.name for field in fields if field.metadata.get("positional")]
    needed = [field for field in fields if field.default is dataclasses.MISSING]
    options = {flag(name): name for name in kinds if name not in positional}
    words: list[str] = []
    positions: list[str] = []
    repeated: dict[str, list[str]] = {}
    left, waiting, used = list(argv), list(positional), set()
    if any(word in ("-h", "--help") for word in left):
        return ["--help"]
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word == "-":
            if not waiting:
                raise OptionError(f"{word!r} is not an option; options begin with --, see --help")
            used.add(waiting[0])
            positions.append(with_home(word))
            if not _repeats(kinds[waiting[0]]):
                waiting.pop(0)
            continue
        option, equals, value = word.partition("=")
        option = _known("--" + option.lstrip("-").replace("_", "-").lower(), list(options))
        used.add(options[option])
        kind = kinds[options[option]]
        if kind is bool:
            if equals:
                raise OptionError(f"{option} takes no value")
            words.append(option)
            continue
        if _repeats(kind):
            repeated.setdefault(option, []).append(with_home(_next(option, kind, value if equals else None, left)))
            continue
        parts = get_args(kind) if get_origin(kind) is tuple else (kind,)
        taken = [_next(option, part, value if equals and i == 0 else None, left) for i, part in enumerate(parts)]
        words += [option, *(_value(option, part, one) for part, one in zip(parts, taken, strict=True))]
    for field in needed:
        if field.name not in used:
            what = field.name.replace("_", " ").upper() if field.name in positional else flag(field.name)
            raise OptionError(f"{what} is missing; see --help")
    return positions + words + [word for option, values in repeated.items() for word in (option, *values)]


def _repeats(kind: Any) -> bool:
    """Whether a field takes any number of values."""
    return get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis


def _known(option: str, options: list[str]) -> str:
    """The option itself.

    Raises:
        OptionError: there is none of that name, with the near matches.
    """
    if option in options:
        return option
    names = [known[2:] for known in [*options, "--help"]]  # dashes would make all options alike
    found = [ELSEWHERE[option]] if ELSEWHERE.get(option) in options else []
    found += [f"--{name}" for name in near(option.lstrip("-"), names)]
    found = list(dict.fromkeys(found))[:3]
    found += [known for known in options if known not in found and option[2:] and option[2:] in known][: 3 - len(found)]
    raise OptionError(f"there is no option {option}; " + (f"did you mean {either(found)}?" if found else "see --help"))


def _next(option: str, kind: Any, value: str | None, left: list[str]) -> str:
    """An option's value: that after the equals sign, or the next word."""
    if value is not None:
        return value
    if not left or left[0].startswith("--"):
        raise OptionError(f"{option} needs a value: {_kind(kind)}")
    return left.pop(0)


def _value(option: str, kind: Any, value: str) -> str:
    if get_origin(kind) is Literal:
        choices = list(get_args(kind))
        if value in choices:
            return value
        raise OptionError(f"{option} cannot be {value!r}; {takes(value, choices)}")
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
    return with_home(value)


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return either(list(get_args(kind)))
    return {int: "a whole number", float: "a number"}.get(kind, "a word")


def unknown_command(kind: str, name: str, commands: Collection[str]) -> NoReturn:
    """Refuses a word that names none of a program's commands.

    Args:
        kind: of command, such as "teacher".
        name: the word.
        commands: the names that there are.

    Raises:
        OptionError: with the nearest and all names.
    """
    hint = did_you_mean(name, commands, "", most=1)
    raise OptionError(f"there is no {kind} command {name!r}; {hint and f'{hint} '}It is one of {', '.join(commands)}")
