"""`python benchmarks/reproduce.py`: the paper's comparison, its baselines and ablations, as curves and a table.

Every experiment is a `Config`, run by `api.train` into a folder of its own under OUT/runs; one that has its summary is
not run again, one that was interrupted starts anew. What comes of them, `results.json`, `table.md` and pictures, stands
in OUT and is made from the run folders alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l4t_jax import commandline, errors, files
from l4t_jax import config as configuration
from l4t_jax.agents.algorithms import algorithm_names, get_algorithm
from l4t_jax.config import PRESETS, Config, ConfigError
from l4t_jax.reporting import run_folder
from l4t_jax.reporting.run_folder import RunFolderError
from l4t_jax.run import guarded, json_only, print_json

DESCRIPTION = (
    "Reproduces the paper's comparison: every task with L4T and its baselines, and the ablations, several seeds each, "
    "into curves, pictures and a table. The same command goes on where it was stopped."
)
TASKS = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey", "DoorKey-8x8", "DoorKey-5x5")
ABLATED = ("SimpleDoorKey", "LavaDoorKey")
CORRUPTED = ("DoorKey-5x5",)  # PPO alone learns it, so that a teacher's harm would show
CORRUPTION_SEED = 0
RUNS, TEACHERS = "runs", "teachers"
EVALUATIONS = 40  # of a run, twice preset fast's: here the curves are the result


@dataclasses.dataclass(frozen=True)
class Command:
    """The command's options."""

    tasks: str = ",".join(TASKS)
    """Tasks to compare on, with commas between them."""
    seeds: int = 5
    """Students of each experiment, trained side by side in one program."""
    quick: bool = False
    """A tiny budget and one task, to see that everything works; the figures mean nothing."""
    out: str = "runs/reproduce"
    """Folder for the results."""
    only: str | None = None
    """Run only these experiments, with commas between them; the results hold all that are there."""
    list_experiments: bool = False
    """Print the names of the experiments, and end."""
    json: bool = False
    """Print the results as one JSON object on standard output, and nothing else there."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to train that is compared.

    Attributes:
        label: in tables and pictures.
        group: "compared" on every task, "ablation" on `ABLATED`, "corruption" on `CORRUPTED`.
        changes: settings that differ from the defaults.
        corruption: share of symbolic states whose plans are random; None leaves the teacher alone.
    """

    label: str
    group: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    corruption: float | None = None


_FULL = PRESETS["fast"]["distill_coef"]
_L4T = get_algorithm("l4t").label


def _algorithm(name: str) -> Variant:
    """An algorithm with its default settings."""
    algorithm = get_algorithm(name)
    alone = {} if algorithm.uses_teacher else {"teacher": "none"}
    return Variant(algorithm.label, "compared", dict(algo=name, **alone))


VARIANTS = {
    **{name: _algorithm(name) for name in algorithm_names()},
    "frugal": Variant(f"{_L4T}, frugal", "compared", dict(preset="frugal")),
    "clock": Variant(f"{_L4T} annealed by the clock", "compared", dict(anneal="clock")),
    "hard": Variant("hard labels", "ablation", dict(teacher_mode="hard")),
    "constant": Variant(
        "no annealing",
        "ablation",
        dict(anneal="clock", distill_coef=_FULL, distill_floor=_FULL, distill_fall=1.0, distill_off=1.0),
    ),
    "corrupt-0.25": Variant("teacher corrupted, 0.25", "corruption", corruption=0.25),
    "corrupt-0.5": Variant("teacher corrupted, 0.5", "corruption", corruption=0.5),
    "corrupt-1": Variant("teacher corrupted, 1", "corruption", corruption=1.0),
}

# What --quick makes of every experiment, and which it runs.
QUICK: dict[str, Any] = dict(
    num_seeds=2, num_envs=16, rollouts="steps", num_steps=16, minibatches=4, epochs=1, hidden=32, total_steps=2048,
    evaluations=4, validation_levels=32, heldout_levels=64, level_pool=64,
)  # fmt: skip
QUICK_TASK, QUICK_VARIANTS = "DoorKey-5x5", ("l4t", "ppo")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One run: a variant on a task."""

    task: str
    variant: str
    config: Config

    @property
    def name(self) -> str:
        return f"{self.task}-{self.variant}"


def experiments(command: Command) -> list[Experiment]:
    """What a command asks for, `--only` aside.

    Raises:
        UnknownTask: with the near matches.
        OptionError: too few seeds.
    """
    from l4t_jax.envs import get_task

    if command.seeds < 2:
        raise errors.OptionError(f"--seeds must be at least 2, not {command.seeds}: the intervals are over seeds")
    if command.quick:
        return [_experiment(QUICK_TASK, variant, command.out, QUICK) for variant in QUICK_VARIANTS]
    tasks = dict.fromkeys(get_task(word).name for word in _words(command.tasks))
    where = {"ablation": ABLATED, "corruption": CORRUPTED}
    return [
        _experiment(task, name, command.out, dict(num_seeds=command.seeds))
        for task in tasks
        for name, variant in VARIANTS.items()
        if task in where.get(variant.group, tasks)
    ]


def _experiment(task: str, variant: str, out: str, settings: dict[str, Any]) -> Experiment:
    changes = dict(VARIANTS[variant].changes)
    if changes.get("preset", "fast") == "fast":
        changes = dict(evaluations=EVALUATIONS) | changes
    if VARIANTS[variant].corruption is not None:
        changes["teacher"] = f"file:{Path(out) / TEACHERS / f'{task}-{variant}.json'}"
    folder = Path(out) / RUNS / f"{task}-{variant}"
    return Experiment(task, variant, Config(env=task, run_dir=str(folder), **{**changes, **settings}))


def _words(listed: str) -> list[str]:
    return [word.strip() for word in listed.split(",") if word.strip()]


def chosen(every: list[Experiment], only: str | None) -> list[Experiment]:
    """Those that `--only` names, in their order; all without it.

    Raises:
        OptionError: there is none of that name; with the near matches.
    """
    if only is None:
        return every
    names = {experiment.name.lower(): experiment for experiment in every}
    for word in _words(only):
        if word.lower() not in names:
            known = [experiment.name for experiment in every]
            hint = errors.did_you_mean(word, known, "see --list-experiments", alike=0.4)
            raise errors.OptionError(f"there is no experiment {word!r}; {hint}")
    wanted = {word.lower() for word in _words(only)}
    return [experiment for name, experiment in names.items() if name in wanted]


def finished(experiment: Experiment) -> bool:
    """Whether the experiment has been run to its end.

    Raises:
        RunFolderError: with other settings.
    """
    from l4t_jax.training.trainer import Trainer

    folder = Path(str(experiment.config.run_dir))
    if not (folder / run_folder.SUMMARY).is_file():
        return False
    now = dataclasses.asdict(Trainer.create(experiment.config).config)
    for name in ("run_dir", "teacher", "devices"):  # OUT may have been moved
        del now[name]
    found = differences(run_folder.read(folder / run_folder.CONFIG), now)
    if found:
        raise RunFolderError(f"{folder} was made with {first_of(found)}; pass another --out, or remove that folder")
    return True


def differences(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings of which an earlier run had other values.

    Args:
        before: the run's settings, from JSON. One that is missing came later than the run and had its default in
            `Settings`: the value that does what was done before, and None where there is none.
        now: resolved settings; only these are compared.

    Returns:
        Name -> the value before and the value now, as JSON has them, in the order of `now`. Two runs without a warm-up
        do not differ by `warmup_epochs`, which has no meaning then.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(configuration.Settings)}
    before, now = json.loads(files.dumps(defaults | before)), json.loads(files.dumps(now))
    found = {name: (before[name], now[name]) for name in now if before[name] != now[name]}
    if before["warmup_updates"] == 0 == now.get("warmup_updates"):
        found.pop("warmup_epochs", None)
    return found


def first_of(found: dict[str, tuple[Any, Any]]) -> str:
    """The first of some `differences` in words: "--num-seeds 3, not 5"."""
    name, values = next(iter(found.items()))
    before, now = ("unset" if value is None else value for value in values)
    return f"{commandline.flag(name)} {before}, not {now}"


def run(experiment: Experiment, progress: Any = None) -> None:
    """Runs an experiment from its start; what an interrupted one left is removed."""
    import jax

    from l4t_jax import api

    folder = Path(str(experiment.config.run_dir))
    if (folder / run_folder.CONFIG).is_file():
        shutil.rmtree(folder)
    _write_teacher(experiment)
    api.train(experiment.config, progress=progress)
    jax.clear_caches()  # the next experiment's programs are others


def _write_teacher(experiment: Experiment) -> None:
    """The corrupted teacher that an experiment learns from, as a file, if it does."""
    from l4t_jax.envs import get_task
    from l4t_jax.teacher import file
    from l4t_jax.teacher.corrupt import corrupt

    probability = VARIANTS[experiment.variant].corruption
    if probability is not None:
        task = get_task(experiment.task)
        content = corrupt(file.shipped(task), task, probability, CORRUPTION_SEED)
        file.save(content, experiment.config.teacher.removeprefix("file:"))


def teachers_alone(task_name: str, folder: Path, levels: int) -> dict[str, Any]:
    """The task's own teacher on held-out levels, kept in `folder`.

    Returns:
        "drawn": its plans drawn by their probabilities at every step, which is how the soft teacher acts and the hard
        one alike; "decided": always the most probable plan.
    """
    from l4t_jax.envs import get_task
    from l4t_jax.evaluation.teachers import evaluate_teacher
    from l4t_jax.teacher import file
    from l4t_jax.teacher.corrupt import decided

    kept = folder / f"{task_name}-alone.json"
    if kept.is_file() and (found := run_folder.read(kept))["drawn"]["levels"] == levels:
        return found
    task = get_task(task_name)
    content = file.shipped(task)
    found = {
        "drawn": evaluate_teacher(task, content, levels),
        "decided": evaluate_teacher(task, decided(content), levels),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(kept, found)
    return found


def results(done: list[Experiment], teachers: dict[str, Any], command: str) -> dict[str, Any]:
    """All figures of finished experiments."""
    import comparison

    runs: list[dict[str, Any]] = []
    for one in done:
        variant = VARIANTS[one.variant]
        named = dict(variant=one.variant, label=variant.label, group=variant.group, corruption=variant.corruption)
        runs.append({**named, **comparison.measured(Path(str(one.config.run_dir)))})
    devices = dict.fromkeys(run.pop("device") for run in runs)
    versions = [run.pop("versions") for run in runs]
    return files.strict(
        dict(
            command=command,
            device=" and ".join(devices),
            versions=versions[0],
            versions_differ=any(one != versions[0] for one in versions),
            seeds=done[0].config.num_seeds,
            seconds=sum(sum(run["seconds"].values()) for run in runs),
            teachers=teachers,
            verdicts=comparison.verdicts(runs),
            harmed=comparison.harmed(runs),
            runs=runs,
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: without the program's name; the process's own by default.

    Returns:
        The exit code: 0, 2 for a mistake on the command line, 130 after Ctrl-C.
    """
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> int:
    command = commandline.parse(Command, argv, "python benchmarks/reproduce.py", DESCRIPTION)
    if command.quick:  # most of it is compiling, and its programs run for a second
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    with json_only(command.json):
        every = experiments(command)
        selected = chosen(every, command.only)
        if command.list_experiments:
            names = [experiment.name for experiment in every]
            print_json({"experiments": names}) if command.json else print("\n".join(names))
            return 0
        need_rliable()
        found = _reproduce(every, selected, Path(command.out), shlex.join(["python", "benchmarks/reproduce.py", *argv]))
        if command.json:
            print_json(found)
        else:
            print(f"results: {command.out}/table.md, results.json and pictures")
    return 0


def need_rliable() -> None:
    """Says before any run, not after hours of them, that the figures could not be made."""
    try:
        import rliable.library  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'the intervals need rliable: pip install rliable "pandas<3" ({error})') from error


def _reproduce(every: list[Experiment], selected: list[Experiment], out: Path, command: str) -> dict[str, Any]:
    import comparison
    import figures

    from l4t_jax.reporting import progress

    waiting = [experiment for experiment in selected if not finished(experiment)]
    for number, experiment in enumerate(waiting, start=1):
        shown = progress.make()
        shown.notice(f"experiment {number} of {len(waiting)}: {experiment.name}")
        run(experiment, shown)
    done = [experiment for experiment in every if finished(experiment)]
    levels = {experiment.task: experiment.config.heldout_levels for experiment in done}
    teachers = {task: teachers_alone(task, out / TEACHERS, number) for task, number in levels.items()}
    found = results(done, teachers, command)
    (out / "results.json").write_text(files.dumps(found) + "\n", encoding="utf-8")
    (out / "table.md").write_text(comparison.markdown(found), encoding="utf-8")
    figures.draw(out, found)
    return found


if __name__ == "__main__":
    sys.exit(main())
