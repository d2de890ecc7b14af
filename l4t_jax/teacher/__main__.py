"""`python -m l4t_jax.teacher COMMAND`: record a teacher file from an LLM, show it, evaluate it, compare two.

The commands are in `commands`, which is slow to import.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from l4t_jax import commandline

COMMANDS = {
    "record": "ask an LLM about every symbolic state of a task, and write its answers as a teacher file",
    "refine": "ask again for the states whose advice lost most, and keep what measures better",
    "prompt": "print what an LLM is told about a task",
    "show": "print a teacher in readable form",
    "evaluate": "play a teacher on held-out levels",
    "diff": "print where two teachers differ",
}


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.teacher") -> int:
    """Runs the command named by the first word; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        said = "\n".join(f"  {name:10}{words}" for name, words in COMMANDS.items())
        print(f"usage: {prog} COMMAND [options]\n\n{said}\n\n{prog} COMMAND --help lists a command's options.")
        return 0
    settings: list[str] = []

    def command() -> int:
        name = words.pop(0)
        if name not in COMMANDS:
            commandline.unknown_command("teacher", name, COMMANDS)
        from l4t_jax.teacher import commands

        settings.extend(commandline.settings_of(commands.COMMANDS[name]))
        commands.run(name, words, f"{prog} {name}")
        return 0

    return commandline.guarded(command, settings)


if __name__ == "__main__":
    sys.exit(main())
