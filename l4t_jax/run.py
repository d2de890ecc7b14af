"""`python -m l4t_jax.run --env DoorKey`: trains students under a teacher and evaluates both on held-out levels.

The command line is made from `Config`; the work is `api.train`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json
from l4t_jax.config import PRESETS, Config
from l4t_jax.errors import OptionError

if TYPE_CHECKING:
    from l4t_jax.reporting.result import Result

DESCRIPTION = (
    "Trains small students under an LLM's recorded advice in a MiniGrid environment, evaluates them, the teacher and "
    "random policy on held-out levels, and leaves a run folder. Settings whose default depends on --preset say so."
)


@dataclasses.dataclass(frozen=True)
class Command(Config):
    """The command's options: the settings of a run, and what to do with them."""

    imports: tuple[str, ...] = ()
    resume: str | None = None
    """Folder of a run that was stopped or killed: it goes on from its last checkpoint and needs no other option. Its
    settings stay its own; only --save-every, --devices, --wandb, --price, --max-calls and --max-cost may
    change."""
    list_tasks: bool = False
    """Print the names of the tasks, and end."""
    print_config: bool = False
    """Print every setting as it would run, and end."""
    distributed: bool = False
    """Run as one of the processes of a SLURM, MPI or Kubernetes job; a TPU pod needs no such word (docs/devices.md)."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.run") -> int:
    """Runs the command.

    Args:
        argv: without the program's name; the process's own by default.
        prog: how the command was called, for its help.

    Returns:
        The exit code: 0, 2 for what is refused or went wrong, 130 after Ctrl-C, 143 after SIGTERM.
    """
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv, prog), commandline.settings_of(Command))


def _main(argv: Sequence[str], prog: str) -> int:
    command = commandline.parse(Command, argv, prog, DESCRIPTION, _preset_defaults)
    names = [field.name for field in dataclasses.fields(Config)]
    config = Config(**{name: getattr(command, name) for name in names})
    with json_only(command.json):
        if command.list_tasks:
            return _list_tasks(command)
        if command.resume is not None and command.print_config:
            raise OptionError(
                "--resume runs with the settings in its folder's config.json; --print-config shows a new run's"
            )
        if command.print_config:
            return _print_config(config, command.json)
        return _train(command, config, [name for name in commandline.given(Command, argv) if name in names])


def _train(command: Command, config: Config, given: list[str]) -> int:
    from l4t_jax.reporting import progress

    shown = progress.make()
    told = shown.notice
    shown.notice = lambda words: told(commandline.in_options(words, commandline.settings_of(Command)))
    try:
        from l4t_jax import parallel

        parallel.join(command.distributed)
        parallel.cpu_devices(*_spread(config, command.resume))
        from l4t_jax import api

        if command.resume is None:
            result = api.train(config, progress=shown)
        else:
            result = api.train(
                resume=command.resume, progress=shown, **{name: getattr(command, name) for name in given}
            )
    finally:
        shown.close()
    if not parallel.is_main():
        pass  # the first process speaks for all
    elif command.json:
        print_json(result.summary)
    elif result.heldout:  # a run that was finished before has been reported
        _report(result)
    return 0


def _preset_defaults(name: str) -> str | None:
    """What --help says of a setting that the preset decides."""
    if name == "num_steps":
        return "; ".join(f"{preset}: {values[name]}" for preset, values in PRESETS.items()) + "; at most an episode"
    if name == "observation":
        return "the student's own, or map"
    if name == "run_dir":
        return "runs/TASK-ALGO-SEED"
    if name == "resume":
        return "a new run"
    return "; ".join(f"{preset}: {values[name]}" for preset, values in PRESETS.items() if name in values) or None


def _spread(config: Config, resume: str | None) -> tuple[int, int | None]:
    """How many environments a run spreads and what devices it asks for, before its task is known."""
    saved: Any = {}
    if resume is not None:  # if the folder is not a run's, `train` says so
        with contextlib.suppress(OSError, ValueError):
            saved = json.loads((Path(resume) / "config.json").read_text(encoding="utf-8"))
    if isinstance(saved, dict) and isinstance(saved.get("num_envs"), int):
        spread = saved.get("devices") if config.devices is None else config.devices
        envs, rollouts = saved["num_envs"], saved.get("rollouts")
    else:
        preset, spread = PRESETS[config.preset], config.devices
        envs, rollouts = config.num_envs or preset["num_envs"], config.rollouts or preset["rollouts"]
    return 1 if rollouts == "episodes" else envs, spread if isinstance(spread, int) else None


def _list_tasks(command: Command) -> int:
    from l4t_jax import extensions, tasks

    extensions.load_all(command.imports)
    return tasks.print_list(command.json)


def _print_config(config: Config, as_json: bool) -> int:
    from l4t_jax.api import with_extensions
    from l4t_jax.saved import inherit
    from l4t_jax.training.trainer import Trainer

    config, _ = inherit(config)
    resolved = dataclasses.asdict(Trainer.create(with_extensions(config)).config)
    if resolved["run_dir"] is None:
        resolved["run_dir"] = f"runs/{resolved['env']}-{config.algo}-{config.seed}"
    if as_json:
        print_json(resolved)
        return 0
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    given, default = dataclasses.asdict(config), dataclasses.asdict(Config())
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    said = commandline.docs(Config)
    for name, value in resolved.items():
        shown = " ".join(one["name"] for one in value) if name == "imports" else str(value)
        whose = "" if given[name] == default[name] else "bold"
        table.add_row(commandline.flag(name), Text(shown, whose), Text(said[name], "dim"))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


def _report(result: Result) -> None:
    from rich.console import Console

    from l4t_jax.reporting import pictures, webpage

    summary = result.summary
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    title = f"{summary['task']}, {summary['heldout']['levels']:,} held-out levels"
    if summary["teacher"] != "none":
        title += f", teacher {summary['teacher']}"
    console.print(pictures.table(result.heldout, title))
    seconds = summary["seconds"]
    console.print(
        f"{summary['total_steps']:,} steps{'' if result.config.num_seeds == 1 else ' a seed'}, "
        f"{summary['env_steps_per_s']:,.0f} steps/s; compiling {seconds['compile']:.1f} s, "
        f"training {seconds['train']:.1f} s, evaluating {seconds['evaluate']:.1f} s"
    )
    for one in summary["guidance"]:
        said = commandline.in_options(one["said"], commandline.settings_of(Command))
        console.print(f"- {said}", markup=False, style="yellow")
    console.print(f"results: {result.run_dir} (open {webpage.NAME} in a browser)", markup=False)


if __name__ == "__main__":
    sys.exit(main())
