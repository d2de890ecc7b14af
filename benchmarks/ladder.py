"""`python benchmarks/ladder.py`: students on the tasks that others need millions of steps for, as a table and curves.

Every experiment is a row (a task with a budget of steps) learned in one way. What it came to is a part, a JSON file of
its own in OUT, which is kept under version control: so the same command goes on where it was stopped, on another
machine too. The table and the pictures are made from the parts alone; run folders may be removed.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ladder_rows
import reproduce
from ladder_rows import ROWS, WAYS, Row

from l4t_jax import commandline, errors, files, parallel
from l4t_jax.config import MAY_CHANGE, PRESETS, Config
from l4t_jax.reporting import gallery, run_folder
from l4t_jax.run import guarded, json_only, print_json

DESCRIPTION = (
    "Trains students on the ladder of hard tasks, several seeds each in one program, and beside them those of other "
    "ways to learn, into a table and pictures. The same command goes on where it was stopped, on another machine too."
)
PACKAGE = Path(__file__).parents[1] / "l4t_jax"
COMMAND = "python benchmarks/ladder.py"
OUT, PARTS = "benchmarks/results/ladder", "parts"
PART = 1  # version of the format
EVALUATIONS = 10  # of a run: one costs as much as a tenth of the training and more, where an episode can be long


@dataclasses.dataclass(frozen=True)
class Command:
    """The command's options."""

    rows: str = ",".join(ROWS)
    """Tasks, with commas between them."""
    ways: str = ",".join(WAYS)
    """Ways to learn, with commas between them. Each has rows of its own, which --rows narrows."""
    seeds: int = 3
    """Students of each experiment, trained side by side in one program."""
    devices: int | None = None
    """Devices to spread the environments over; as many as there are by default."""
    quick: bool = False
    """Tiny budgets, to see that everything works; the figures mean nothing, and --out must be another folder."""
    out: str = OUT
    """Folder of the parts, the table and the pictures."""
    runs: str = "runs/ladder"
    """Folder for the run folders; those of finished experiments may be removed once `benchmarks/students.py` ran."""
    again: bool = False
    """Replace parts that were made with other settings or by other code, instead of refusing or keeping them."""
    report: bool = False
    """Train nothing: make the table and the pictures from the parts that are there."""
    list_experiments: bool = False
    """Print the experiments and whether each is done, and end."""
    json: bool = False
    """Print the results as one JSON object on standard output, and nothing else there."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A row learned in one way."""

    row: Row
    way: str
    config: Config

    @property
    def name(self) -> str:
        return f"{self.row.task}-{self.way}"


def experiments(command: Command) -> list[Experiment]:
    """What a command asks for: each way on its rows, in the order of the ladder.

    Raises:
        OptionError: a row or a way that there is not, with the near matches; too few seeds.
    """
    if command.seeds < 2:
        raise errors.OptionError(f"--seeds must be at least 2, not {command.seeds}: the intervals are over seeds")
    if command.quick and command.out == OUT:
        raise errors.OptionError(f"--quick needs an --out of its own: its figures do not belong into {OUT}")
    rows, ways = chosen("row", command.rows, list(ROWS)), chosen("way", command.ways, list(WAYS))
    return [_experiment(ROWS[row], way, command) for way in ways for row in rows if row in WAYS[way].rows]


def chosen(what: str, listed: str, known: list[str]) -> list[str]:
    """The names in a list with commas, in the order in which they are known."""
    folded = {name.lower() for name in known}
    words = [word.strip() for word in listed.split(",") if word.strip()]
    for word in words:
        if word.lower() not in folded:
            hint = errors.did_you_mean(word, known, f"it takes {', '.join(known)}", alike=0.4)
            raise errors.OptionError(f"there is no {what} {word!r}; {hint}")
    return [name for name in known if name.lower() in {word.lower() for word in words}]


def _experiment(row: Row, way: str, command: Command) -> Experiment:
    config = Config(
        env=row.task, num_seeds=command.seeds, total_steps=row.steps, devices=command.devices, evaluations=EVALUATIONS
    )
    quick = reproduce.QUICK if command.quick else {}
    return Experiment(row, way, dataclasses.replace(config, **WAYS[way].settings(row) | quick))


# --- Parts --------------------------------------------------------------------------------------------------------


def settings(experiment: Experiment) -> dict[str, Any]:
    """All settings that decide what an experiment comes to, resolved; files by their names."""
    from l4t_jax import api
    from l4t_jax.training.trainer import Trainer

    config = Trainer.create(api.with_extensions(experiment.config)).config
    found = {name: value for name, value in dataclasses.asdict(config).items() if name not in MAY_CHANGE}
    found["teacher"] = ladder_rows.named(str(found["teacher"]))
    found["imports"] = [dict(name=Path(one["name"]).name, sha256=one["sha256"]) for one in found["imports"]]
    return json.loads(files.dumps(found))


def code() -> str:
    """A digest of the package's Python files: parts that were made by other code say so."""
    from l4t_jax.reporting import machine

    return machine.code()[:16]


def part_path(out: Path, experiment: Experiment) -> Path:
    return out / PARTS / f"{experiment.name}.json"


def run_path(runs: Path, name: str, decided: dict[str, Any], made_by: str) -> Path:
    """The folder of an experiment's run. A run is gone on with by the code and the settings that began it alone.

    Args:
        runs: the folder of all run folders.
        name: of the experiment.
        decided: its settings, as in its part.
        made_by: the digest of the code, as in its part.
    """
    key = hashlib.sha256(json.dumps([decided, made_by]).encode()).hexdigest()[:12]
    return runs / f"{name}-{key}"


def read_part(out: Path, experiment: Experiment) -> dict[str, Any] | None:
    """What the experiment came to, if it was made; with whatever settings."""
    path = part_path(out, experiment)
    return run_folder.read(path) if path.is_file() else None


def finished(out: Path, experiment: Experiment, again: bool) -> bool:
    """Whether the experiment's part is there and holds.

    Args:
        out: the results' folder.
        experiment: the one asked about.
        again: whether a part with other settings or of other code is to be made again; otherwise the first is refused.

    Raises:
        RunFolderError: the part was made with other settings.
    """
    part = read_part(out, experiment)
    if part is None:
        return False
    found = reproduce.differences(part["settings"], settings(experiment))
    if again:
        return not found and part["code"] == code()
    if found:
        raise errors.RunFolderError(
            f"{part_path(out, experiment)} was made with {reproduce.first_of(found)}; "
            "pass --again to replace it, or another --out"
        )
    return True


def make(out: Path, runs: Path, experiment: Experiment, progress: Any = None) -> None:
    """Trains an experiment, or goes on with it, and writes its part."""
    import comparison
    import jax

    from l4t_jax import api

    decided, made_by = settings(experiment), code()
    folder = run_path(runs, experiment.name, decided, made_by)
    if not (folder / run_folder.SUMMARY).is_file():
        if (folder / run_folder.CONFIG).is_file():
            api.train(resume=folder, progress=progress, devices=experiment.config.devices)
        else:
            api.train(dataclasses.replace(experiment.config, run_dir=str(folder)), progress=progress)
        jax.clear_caches()  # the next experiment's programs are others
    part = dict(
        format=PART,
        way=experiment.way,
        label=WAYS[experiment.way].label,
        observation=decided["observation"],
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        code=made_by,
        **comparison.measured(folder),
        settings=decided,
    )
    part["teacher"] = ladder_rows.named(str(part["teacher"]))
    path = part_path(out, experiment)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, files.strict(part))


# --- The command --------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: without the program's name; the process's own by default.

    Returns:
        The exit code: 0, 2 for a mistake on the command line, 130 after Ctrl-C.
    """
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    command = commandline.parse(Command, argv, COMMAND, DESCRIPTION)
    out = Path(command.out)
    with json_only(command.json):
        selected = experiments(command)
        if command.list_experiments:
            found = {one.name: read_part(out, one) is not None for one in selected}
            lines = (f"{name}  {'done' if done else '-'}" for name, done in found.items())
            print_json({"experiments": found}) if command.json else print("\n".join(lines))
            return 0
        reproduce.need_rliable()
        if not command.report:
            parallel.cpu_devices(PRESETS["fast"]["num_envs"], command.devices)
            _make_all(command, selected)
        results = report(out)
        if command.json:
            print_json(results)
        else:
            print(f"results: {out / 'table.md'}, parts and pictures beside it")
    return 0


def _make_all(command: Command, selected: list[Experiment]) -> None:
    from l4t_jax.reporting import progress

    out = Path(command.out)
    waiting = [experiment for experiment in selected if not finished(out, experiment, command.again)]
    for number, experiment in enumerate(waiting, start=1):
        shown = progress.make()
        shown.notice(f"experiment {number} of {len(waiting)}: {experiment.name}")
        make(out, Path(command.runs), experiment, shown)


def parts(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The parts that are there, by task and way."""
    return {
        (row, way): run_folder.read(path)
        for way in WAYS
        for row in WAYS[way].rows
        if (path := out / PARTS / f"{row}-{way}.json").is_file()
    }


def report(out: Path) -> dict[str, Any]:
    """Makes the table and the pictures from the parts that are there; of the committed parts also the pages' tables.

    Returns:
        `parts`; and `other_code`, the names of those that were made by other code than today's.
    """
    import ladder_pictures
    import ladder_report

    found, now = parts(out), code()
    if found:
        (out / "table.md").write_text(ladder_report.markdown(found, COMMAND), encoding="utf-8")
        ladder_pictures.draw(out, found)
        if out.resolve() == (PACKAGE.parent / OUT).resolve():
            ladder_report.put(PACKAGE.parent / "README.md", ladder_report.hardest(found))
            for table in (ladder_report.headline(found), ladder_report.compared(found)):
                ladder_report.put(PACKAGE.parent / "docs" / "ladder.md", table)
            files.write_whole(PACKAGE.parent / "docs" / "gallery.md", gallery.page(gallery.learned(out / PARTS)))
    others = sorted(f"{row}-{way}" for (row, way), part in found.items() if part["code"] != now)
    return dict(command=COMMAND, other_code=others, parts=list(found.values()))


if __name__ == "__main__":
    sys.exit(main())
