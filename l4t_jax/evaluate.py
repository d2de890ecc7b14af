"""`python -m l4t_jax.evaluate RUN`: evaluates a saved run's students again on held-out levels.

The work is `api.evaluate`. As `l4t_jax.evaluate` is that function too, this module can be called like it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, Literal

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json

DESCRIPTION = "Evaluates a saved run's students again on held-out levels, the same for everyone."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    run: str = dataclasses.field(metadata={"positional": True})
    """The run folder, such as runs/SimpleDoorKey-l4t-0, or the name of a trained student, such as KeyCorridorS3R3."""
    levels: int | None = None
    """How many levels."""
    env: str | None = None
    """Another task, which the same student can play."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours to load, such as one with that task; the run's own are loaded anyway."""
    levels_from: str | None = None
    """A level file to play (`python -m l4t_jax.tasks export` writes one)."""
    checkpoint: Literal["last", "best"] = "last"
    """last: the parameters at the end. best: of each seed, those with the highest success on validation levels."""
    simulator: Literal["jax", "minigrid"] = "jax"
    """jax: the environments it was trained in. minigrid: Farama's own, on levels that its generator draws."""
    watch: bool = False
    """With --simulator minigrid: show the first student in MiniGrid's own window, 10 levels by default."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.evaluate") -> int:
    """Runs the command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv, prog), commandline.settings_of(Command))


def _main(argv: Sequence[str], prog: str) -> int:
    command = commandline.parse(Command, argv, prog, DESCRIPTION, lambda name: "the run's own")
    with json_only(command.json):
        from l4t_jax import api

        found = api.evaluate(
            command.run, levels=command.levels, env=command.env, checkpoint=command.checkpoint,
            simulator=command.simulator, watch=_told if command.watch else None, imports=command.imports,
            levels_from=command.levels_from,
        )  # fmt: skip
        if command.json:
            print_json(found)
            return 0
    seeds = len(found["seeds"]["success"])
    where = "" if found["simulator"] == "jax" else " of Farama's minigrid"
    print(f"{found['task']}, {found['levels']:,} held-out levels{where}, {found['checkpoint']} parameters")
    for name, digits in (("success", 3), ("return", 3), ("length", 1)):
        low, high = found["intervals"][name]
        interval = "" if low is None else f" ({low:.{digits}f} - {high:.{digits}f})"
        greedy = "" if found["greedy"] is None else f", greedy {sum(found['greedy'][name]) / seeds:.{digits}f}"
        print(f"  {name:8} {found[name]:.{digits}f}{interval}{greedy}")
    if seeds > 1:
        print(f"  mean of {seeds} seeds; 95 % intervals over the levels of all seeds")
    return 0


def _told(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _evaluate(*args: Any, **kwargs: Any) -> dict[str, Any]:
    from l4t_jax import api

    return api.evaluate(*args, **kwargs)


commandline.callable_as(__name__, _evaluate)


if __name__ == "__main__":
    sys.exit(main())
