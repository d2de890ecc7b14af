"""`python benchmarks/students.py`: puts the ladder's students into the package, each with its card, and on a page.

Of each row it takes the run that the row's committed part was made by, and of that run the first student, whatever it
came to: so cards, the page and the ladder's table speak of the same runs. It needs those run folders
(`benchmarks/ladder.py --runs`); of a row without one, the student that is packed stays, if it is of the same part.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import ladder
import ladder_report
import ladder_rows
import numpy as np
from ladder_rows import ROWS

from l4t_jax import commandline, errors, imported, trained
from l4t_jax.config import MAY_CHANGE, Config, shallow
from l4t_jax.evaluation.intervals import wilson
from l4t_jax.reporting import run_folder
from l4t_jax.run import guarded, json_only, print_json
from l4t_jax.saved import measured, one_student, open_run
from l4t_jax.teacher import file as teacher_file

DESCRIPTION = "Puts the ladder's students into the package, each with its card, and makes the page of them."
COMMAND = "python benchmarks/students.py"
PAGE = Path(__file__).parents[1] / "docs" / "students.md"
WAY = "l4t"
SEED = 0  # of the run's students the first: chosen before anything was measured


@dataclasses.dataclass(frozen=True)
class Command:
    """The command's options."""

    rows: str = ",".join(ROWS)
    """Tasks, with commas between them."""
    runs: str = "runs/ladder"
    """Where `benchmarks/ladder.py` left its run folders."""
    parts: str = ladder.OUT
    """Folder of the ladder's parts."""
    report: bool = False
    """Pack nothing: make the page from the cards that are there."""
    json: bool = False
    """Print the cards as one JSON object on standard output, and nothing else there."""


def pack(folder: Path, part: dict[str, Any], name: str, out: Path) -> dict[str, Any]:
    """Makes a trained student of a run.

    Args:
        folder: of the run.
        part: what the ladder keeps of it.
        name: of the student.
        out: the folder that the student's is made in.

    Returns:
        Its card.

    Raises:
        RunFolderError: the part is another run's.
    """
    saved = open_run(folder, "last")
    found = measured(folder, SEED)
    if found is None or round(found["heldout"]["sampled"]["success"], 4) != part["success"]["seeds"][SEED]:
        raise errors.RunFolderError(f"{folder} is not the run that the part of {name} was made by")
    heldout = found["heldout"]
    for figures in (heldout["sampled"], heldout["greedy"]):
        successes = round(figures["success"] * heldout["levels"])
        figures["interval"] = list(wilson(successes, heldout["levels"]))
    content = teacher_file.load(folder / run_folder.TEACHER)
    one = one_student(saved, SEED)
    card = trained.write(
        out / name,
        _settings(folder),
        one,
        dict(
            name=name,
            task=saved.task.name,
            about=saved.task.description,
            algo=found["algo"],
            student=saved.settings.student,
            parameters=sum(np.size(leaf) for leaf in jax.tree.leaves(one)),
            observation=saved.settings.observation,
            total_steps=found["total_steps"],
            seed=SEED,
            teacher=dict(name=ladder_rows.named(found["teacher"]), hash=teacher_file.digest(content)),
            heldout=heldout,
            made=dict(command=ladder.COMMAND, **{what: part[what] for what in ("date", "code", "device", "versions")}),
        ),
    )
    own = [] if saved.task.teacher is not None else [run_folder.TEACHER]
    for beside in (*own, imported.FILE):
        if (folder / beside).is_file():
            shutil.copy(folder / beside, out / name)
    return card


def _settings(folder: Path) -> dict[str, Any]:
    """The settings of a run as its first student's, without what belongs to the machine that it ran on."""
    values, plain = run_folder.read_values(folder), shallow(Config())
    own = dict(num_seeds=1, teacher=ladder_rows.named(values["teacher"]))
    return values | {name: plain[name] for name in (*MAY_CHANGE, "cache")} | own


def cards() -> list[dict[str, Any]]:
    """The cards of all students, in the order of the ladder."""
    return [trained.card(row) for row in ROWS if row in trained.list_students()]


def table(cards: list[dict[str, Any]]) -> list[str]:
    """The students' table, a line each: what a card says in short."""
    rows = [("name", "steps", "sampled", "greedy", "steps of an episode", "teacher", "kB", "code", "hash"),
            ("---", *["---:"] * 4, "---", "---:", "---", "---")]  # fmt: skip
    for card in cards:
        heldout = card["heldout"]
        rows.append((
            card["name"], f"{card['total_steps']:,}", _cell(heldout["sampled"]), _cell(heldout["greedy"]),
            f"{heldout['sampled']['length']:.1f}", _teacher(card), f"{card['bytes'] / 1e3:.0f}",
            card["made"]["code"][:6], card["sha256"][:12],
        ))  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(figures: dict[str, Any]) -> str:
    low, high = figures["interval"]
    return f"{figures['success']:.3f} ({low:.3f}, {high:.3f})"


def _teacher(card: dict[str, Any]) -> str:
    """The teacher's success alone, and what its plans are."""
    how = card["teacher"]["name"].partition("(")[2].rstrip(")") or card["teacher"]["name"]
    return f"{card['heldout']['teacher']['success']:.3f}, {how}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    command = commandline.parse(Command, argv, COMMAND, DESCRIPTION)
    with json_only(command.json):
        rows = [] if command.report else ladder.chosen("row", command.rows, list(ROWS))
        for row in rows:
            _pack_row(row, Path(command.runs), Path(command.parts))
        found = cards()
        ladder_report.put(PAGE, table(found))
        if command.json:
            print_json(dict(command=COMMAND, cards=found))
        else:
            size = sum(path.stat().st_size for path in trained.DATA.rglob("*") if path.is_file())
            print(f"{len(found)} students in {trained.DATA}, {size / 1e6:.1f} MB; the page is {PAGE}")
    return 0


def _pack_row(row: str, runs: Path, parts: Path) -> None:
    part = run_folder.read(parts / ladder.PARTS / f"{row}-{WAY}.json")
    folder = ladder.run_path(runs, f"{row}-{WAY}", part["settings"], part["code"])
    if folder.is_dir():
        pack(folder, part, row, trained.DATA)
    elif row not in trained.list_students() or trained.card(row)["made"]["code"] != part["code"]:
        raise errors.RunFolderError(
            f"there is no run folder {folder}, which made the part of {row}, and no student of that run is packed: "
            f"`{ladder.COMMAND} --again --rows {row} --ways {WAY}` makes both anew"
        )


if __name__ == "__main__":
    sys.exit(main())
