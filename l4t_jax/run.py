"""`python -m l4t_jax.run --env DoorKey`: trains students under a teacher and measures both on held-out levels.

The command line is made from `Config`; the work is `api.train`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4t_jax import commandline
from l4t_jax.config import PRESETS, Config
from l4t_jax.errors import DamagedCheckpoint, OptionError, Refusal

if TYPE_CHECKING:
    from l4t_jax.api import Result

DESCRIPTION = (
    "Trains small students under an LLM's recorded advice in a MiniGrid environment, evaluates them, the teacher and "
    "random policy on held-out levels, and leaves a run folder. Settings whose default depends on --preset say so."
)


@dataclasses.dataclass(frozen=True)
class Command(Config):
    """The command's options: the settings of a run, and what to do with them."""

    resume: str | None = None
    """Folder of a run that was stopped or killed: it goes on from its last checkpoint and needs no other option. Its
    settings stay its own; only --save-every, --devices and --wandb may change."""
    list_tasks: bool = False
    """Print the names of the tasks, and end."""
    print_config: bool = False
    """Print every setting as it would run, and end."""
    distributed: bool = False
    """Run as one of the processes of a SLURM, MPI or Kubernetes job; a TPU pod needs no such word (docs/devices.md)."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: without the program's name; the process's own by default.

    Returns:
        The exit code: 0, 2 for what is refused or went wrong, 130 after Ctrl-C, 143 after SIGTERM.
    """
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv))


def guarded(command: Any) -> int:
    """Runs a command; refusals become one sentence on standard error, and so do warnings of damaged checkpoints."""
    try:
        with warnings.catch_warnings():
            show = warnings.showwarning
            warnings.showwarning = lambda message, category, *rest, **more: (
                print(f"warning: {message}", file=sys.stderr)
                if issubclass(category, DamagedCheckpoint)
                else show(message, category, *rest, **more)
            )
            return command()
    except Refusal as error:
        refusal = error
    except KeyboardInterrupt as error:
        print(f"\n{error or 'stopped'}", file=sys.stderr)
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(getattr(error, "code", 130))  # a block that is still being computed would hold up an ordinary exit
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    words = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(refusal))  # of an option, or a file's name
    print(f"error: {words}", file=sys.stderr)
    return commandline.BAD_OPTION


def _main(argv: Sequence[str]) -> int:
    command = commandline.parse(Command, argv, "python -m l4t_jax.run", DESCRIPTION, _preset_defaults)
    names = [field.name for field in dataclasses.fields(Config)]
    config = Config(**{name: getattr(command, name) for name in names})
    with json_only(command.json):
        if command.list_tasks:
            return _list_tasks(command.json)
        if command.resume is not None and command.print_config:
            raise OptionError(
                "--resume runs with the settings in its folder's config.json; --print-config shows a new run's"
            )
        if command.print_config:
            return _print_config(config, command.json)
        from l4t_jax.reporting import progress

        shown = progress.make()
        try:
            from l4t_jax import parallel

            parallel.join(command.distributed)
            parallel.cpu_devices(*_spread(config, command.resume))
            from l4t_jax import api

            if command.resume is None:
                result = api.train(config, progress=shown)
            else:
                given = [name for name in commandline.given(Command, argv) if name in names]
                result = api.train(resume=command.resume, progress=shown, **{n: getattr(command, n) for n in given})
        finally:
            shown.close()
        if not parallel.is_main():
            pass  # the first process speaks for all
        elif command.json:
            print_json(result.summary)
        elif result.heldout:  # a run that was finished before has been reported
            _report(result)
    return 0


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
    """Prints one JSON object on the real standard output."""
    from l4t_jax.files import dumps

    text = (dumps(value, indent=1) + "\n").encode()
    while text:
        text = text[os.write(_out, text) :]


def _preset_defaults(name: str) -> str | None:
    """What --help says of a setting that the preset decides."""
    if name == "num_steps":
        return "; ".join(f"{preset}: {values[name]}" for preset, values in PRESETS.items()) + "; at most an episode"
    if name == "run_dir":
        return "runs/TASK-ALGO-SEED"
    if name == "resume":
        return "a new run"
    return "; ".join(f"{preset}: {values[name]}" for preset, values in PRESETS.items() if name in values) or None


def _spread(config: Config, resume: str | None) -> tuple[int, int | None]:
    """How many environments a run has and what devices it asks for, before its task is known."""
    saved: Any = {}
    if resume is not None:  # if the folder is not a run's, `train` says so
        with contextlib.suppress(OSError, ValueError):
            saved = json.loads((Path(resume) / "config.json").read_text(encoding="utf-8"))
    if isinstance(saved, dict) and isinstance(saved.get("num_envs"), int):
        spread = saved.get("devices") if config.devices is None else config.devices
        return saved["num_envs"], spread if isinstance(spread, int) else None
    return PRESETS[config.preset]["num_envs"] if config.num_envs is None else config.num_envs, config.devices


def _list_tasks(as_json: bool) -> int:
    from l4t_jax.envs import get_task, list_tasks

    tasks = [get_task(name) for name in list_tasks()]
    if as_json:
        print_json({"tasks": [{"name": t.name, "aliases": list(t.aliases), "about": t.description} for t in tasks]})
        return 0
    width = max(len(task.name) for task in tasks)
    for task in tasks:
        also = f" (or {', '.join(task.aliases)})" if task.aliases else ""
        print(f"{task.name:{width}}  {task.description}{also}")
    return 0


def _print_config(config: Config, as_json: bool) -> int:
    from l4t_jax.training.trainer import Trainer

    resolved = dataclasses.asdict(Trainer.create(config).config)
    if resolved["run_dir"] is None:
        resolved["run_dir"] = f"runs/{resolved['env']}-{config.algo}-{config.seed}"
    if as_json:
        print_json(resolved)
        return 0
    from rich.console import Console
    from rich.table import Table

    given, default = dataclasses.asdict(config), dataclasses.asdict(Config())
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    said = commandline.docs(Config)
    for name, value in resolved.items():
        whose = "" if given[name] == default[name] else "[bold]"
        table.add_row(f"{commandline.flag(name)}", f"{whose}{value}", f"[dim]{said[name]}[/dim]".replace("[W", r"\[W"))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


def _report(result: Result) -> None:
    from rich.console import Console

    from l4t_jax.reporting import pictures

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
    console.print(f"results: {result.run_dir}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
