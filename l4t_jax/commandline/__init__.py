"""Command lines made from dataclasses (`options`), and what commands do with errors and output (`output`).

Host package, for the command modules alone. Imports nothing heavy: `--help` and a mistyped option answer at once.
"""

from l4t_jax.commandline.options import docs, flag, given, in_options, parse, settings_of, unknown_command
from l4t_jax.commandline.output import BAD_OPTION, callable_as, guarded, json_only, print_json

__all__ = [
    "BAD_OPTION", "callable_as", "docs", "flag", "given", "guarded", "in_options", "json_only", "parse", "print_json",
    "settings_of", "unknown_command",
]  # fmt: skip
