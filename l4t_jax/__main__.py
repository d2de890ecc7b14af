"""`l4t COMMAND` and `python -m l4t_jax COMMAND`: all commands behind one word."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from l4t_jax.commandline import BAD_OPTION
from l4t_jax.errors import near

COMMANDS = {
    "run": ("l4t_jax.run", "train students under a teacher, and evaluate both on held-out levels"),
    "evaluate": ("l4t_jax.evaluate", "evaluate a saved run's students again"),
    "compare": ("l4t_jax.compare.__main__", "set runs beside each other: curves, table, settings that differ"),
    "export": ("l4t_jax.export", "write a saved student as one file that acts without this package"),
    "play": ("l4t_jax.play.__main__", "write a page in which a saved student plays beside its teacher"),
    "teacher": ("l4t_jax.teacher.__main__", "record, show, evaluate or compare teachers"),
    "tasks": ("l4t_jax.tasks", "list the tasks"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first word names; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        print("usage: l4t COMMAND [options], or python -m l4t_jax COMMAND [options]\n")
        print("\n".join(f"  {name:{width}}  {said}" for name, (_, said) in COMMANDS.items()))
        print("\nl4t COMMAND --help tells a command's options.")
        return 0
    name = words.pop(0)
    if name == "--version":
        from l4t_jax import __version__

        print(f"l4t-jax {__version__}")
        return 0
    if name not in COMMANDS:
        found = near(name, COMMANDS, most=1) or (["run"] if name.startswith("-") else [])
        hint = f"did you mean `l4t {found[0]}`? " if found else ""
        print(f"error: there is no command {name!r}; {hint}It is one of {', '.join(COMMANDS)}", file=sys.stderr)
        return BAD_OPTION
    return importlib.import_module(COMMANDS[name][0]).main(words, prog=f"l4t {name}")


if __name__ == "__main__":
    sys.exit(main())
