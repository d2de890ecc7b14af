"""`python -m l4t_jax.compare RUN RUN ...`: runs beside each other, as a page and a picture."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json
from l4t_jax.compare import PAGE, Group, compare

DESCRIPTION = (
    "Sets runs beside each other: success against steps and seconds, a table with intervals, and the settings that "
    "differ, as one page and a picture. Runs that are not finished are shown as such."
)
FEW = 4  # lines whose settings are told in a terminal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    runs: tuple[str, ...] = dataclasses.field(metadata={"positional": True})
    """Run folders, such as runs/SimpleDoorKey-l4t-0."""
    out: str = PAGE
    """The page; the picture is written beside it, with the same name and .png."""
    group: Group = "seeds"
    """seeds: finished runs whose settings differ in their seed alone are one line, with the seeds of all of them. none:
    every run is a line."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours, such as one with an algorithm, for its name and colour."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.compare") -> int:
    """Runs the command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv, prog), commandline.settings_of(Command))


def _main(argv: Sequence[str], prog: str) -> int:
    command = commandline.parse(Command, argv, prog, DESCRIPTION)
    with json_only(command.json):
        found = compare(*command.runs, out=command.out, group=command.group, imports=command.imports)
        if command.json:
            print_json(found)
            return 0
    _print(found)
    return 0


def _print(found: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for task in found["tasks"]:
        table = Table(title=task, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
        table.add_column("", overflow="fold")
        for name in ("seeds", "steps", "success", "greedy", "steps to 0.90", "area", "seconds"):
            table.add_column(name, justify="right", no_wrap=True)
        for line in (line for line in found["lines"] if line["task"] == task):
            area, seconds, reached = line["area"], line["seconds"], line["steps_to_success"]["0.90"]["median"]
            table.add_row(
                Text(line["label"]),
                str(line["seeds"]),
                f"{line['steps']:,}" + ("" if line["finished"] else f" of {line['total_steps']:,}"),
                _cell(line["success"]),
                _cell(line["greedy"]),
                "-" if reached is None else f"{reached:,}",
                "-" if area is None else f"{area['mean']:.3f}",
                "-" if seconds is None else f"{seconds:,.1f}",
            )
        console.print(table)
    for said in found["notes"]:
        console.print(said, markup=False)
    if len(found["lines"]) <= FEW:
        for name, values in found["differences"].items():
            console.print(
                f"{name}: " + "; ".join(f"{value} ({label})" for label, value in values.items()), markup=False
            )
    elif found["differences"]:
        console.print(
            f"settings that differ: {', '.join(found['differences'])}; the page has their values", markup=False
        )
    console.print(f"{found['page']}" + (f", {found['picture']}" if found["picture"] else ""), markup=False)


def _cell(figure: dict[str, Any] | None) -> str:
    return "-" if figure is None else f"{figure['mean']:.3f} ({figure['low']:.3f}-{figure['high']:.3f})"


if __name__ == "__main__":
    sys.exit(main())
