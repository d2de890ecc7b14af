"""`python -m l4t_jax.tasks`: lists the tasks; `show`, `check` and `export` look at one of them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json
from l4t_jax.errors import ConfigError

if TYPE_CHECKING:
    from l4t_jax.envs import Task
    from l4t_jax.evaluation.parity import Comparison

MOST_LEVELS, MOST_EXPORTED, MOST_STEPS = 64, 1_000_000, 10**9


@dataclasses.dataclass(frozen=True, kw_only=True)
class List:
    """Lists the tasks that there are, those of your own extensions too. `show NAME` draws levels of one, `check NAME`
    compares it with Farama's own environment, `export NAME` writes its held-out levels as a file,
    `gallery` makes a page of them all, `bring ID` makes a task of a Gymnasium environment of yours."""

    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""

    def run(self) -> int:
        return print_list(self.json)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Show:
    """Draws levels of a task, each with its mission and its symbolic state: here as text, and as a picture."""

    name: str = dataclasses.field(metadata={"positional": True})
    """The task: KeyCorridorS3R3, MiniGrid-KeyCorridorS3R3-v0, ..."""
    levels: int = 4
    """How many: the first of the test split."""
    out: str | None = None
    """The picture to write."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""

    def run(self) -> int:
        from l4t_jax.envs import get_task
        from l4t_jax.reporting import gallery, sheet

        task = get_task(self.name)
        if not 1 <= self.levels <= MOST_LEVELS:
            raise ConfigError(f"`levels` must be from 1 to {MOST_LEVELS}, not {self.levels}")
        path = _writable(self.out or f"{task.name}.png")
        shown = sheet.shown_levels(task, self.levels)
        picture = sheet.sheet(task, shown)
        try:
            picture.save(path, format="PNG")
        except OSError as error:
            raise ConfigError(f"the picture {path} cannot be written: {error.strerror or error}") from error
        if self.json:
            levels = [
                dict(
                    hash=f"{one.hash:08x}", mission=one.mission, state=one.sentence, map=sheet.as_text(one).split("\n")
                )
                for one in shown
            ]
            print_json({**gallery.described(task), "picture": str(path), "levels": levels})
            return 0
        print(f"{task.name} ({task.minigrid_id or 'no MiniGrid id'}), {task.width} x {task.height}, ", end="")
        print(f"at most {task.max_steps} steps")
        if task.distinct_levels is not None:
            print(f"levels: {task.distinct_levels}, which training, validation and test share")
        for number, one in enumerate(shown, 1):
            print(f"\ntest level {number}\n{sheet.as_text(one)}\nmission: {one.mission or 'none'}")
            if one.sentence is not None:
                print(f"state: {one.sentence}")
        print(f"\n{sheet.LEGEND}\npicture: {path}")
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """Compares a task with Farama's own environment, step by step: levels of both sides, random, interaction-seeking
    and, where there is a teacher, teacher-driven actions. Ends with 1 if any step differs, and shows the first."""

    name: str = dataclasses.field(metadata={"positional": True})
    """The task: KeyCorridorS3R3, MiniGrid-KeyCorridorS3R3-v0, ..."""
    steps: int = 2000
    """How many steps to compare, over all episodes."""
    seed: int = 0
    """Seed of levels and actions."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""

    def run(self) -> int:
        from l4t_jax.envs import get_task
        from l4t_jax.envs.registry import is_brought_in
        from l4t_jax.evaluation import parity

        task = get_task(self.name)
        if not 1 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"`steps` must be from 1 to {MOST_STEPS}, not {self.steps}")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"`seed` must be from 0 to {2**31 - 1}, not {self.seed}")
        if is_brought_in(self.name):
            from l4t_jax import imported

            steps = imported.prove_again(task, self.steps, self.seed)  # a step that differs is refused
            if self.json:
                print_json({"task": task.name, "minigrid_id": task.minigrid_id, "steps": steps, "differences": 0})
            else:
                print(f"{task.name}: {steps:,} steps compared with its original, none differs")
            return 0
        found = parity.compare(task, self.steps, self.seed)
        if self.json:
            print_json({"task": task.name, "minigrid_id": task.minigrid_id, **dataclasses.asdict(found)})
        else:
            _tell_comparison(task, found)
        return 1 if found.differences else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """Writes held-out levels of a task as a JSON file, each with its hash: for `run --levels-from FILE` and `evaluate
    --levels-from FILE`, and to publish."""

    name: str = dataclasses.field(metadata={"positional": True})
    """The task: KeyCorridorS3R3, MiniGrid-KeyCorridorS3R3-v0, ..."""
    levels: int = 1000
    """How many: the first of the split, those of every evaluation."""
    split: Literal["test", "validation"] = "test"
    """Which held-out levels."""
    out: str | None = None
    """The file to write."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""

    def run(self) -> int:
        from l4t_jax.envs import get_task
        from l4t_jax.evaluation import level_file

        task = get_task(self.name)
        if not 1 <= self.levels <= MOST_EXPORTED:
            raise ConfigError(f"`levels` must be from 1 to {MOST_EXPORTED}, not {self.levels}")
        path = _writable(self.out or f"{task.name}-{self.split}.json")
        content = level_file.export(task, self.levels, self.split)
        level_file.save(content, path)
        distinct = len({level["hash"] for level in content["levels"]})
        if self.json:
            print_json(
                {"task": task.name, "split": self.split, "levels": self.levels, "distinct": distinct, "file": str(path)}
            )
            return 0
        print(f"{path}: {self.levels:,} levels of {task.name}'s {self.split} split, {distinct:,} of them different")
        return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gallery:
    """Writes gallery.md and its pictures: a level of every family, its missions, sizes, limits, symbolic states and
    results."""

    out: str = "docs"
    """The folder to write into."""
    results: str | None = None
    """Folder with the parts of benchmarks/ladder.py, whose results the page shows; without it the page has none."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers tasks; may be repeated."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""

    def run(self) -> int:
        from l4t_jax.reporting import gallery

        folder = Path(self.out).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder} to write the gallery into")
        results = {} if self.results is None else gallery.learned(Path(self.results).expanduser())
        try:
            written = gallery.write(folder, results)
        except OSError as error:
            raise ConfigError(f"the gallery cannot be written: {error.filename}: {error.strerror}") from error
        if self.json:
            print_json({"files": [str(path) for path in written]})
        else:
            print(f"{written[0]} and {len(written) - 1} pictures")
        return 0


def _tell_comparison(task: Task, found: Comparison) -> None:
    whose = task.minigrid_id or "the same task on Farama's minigrid"
    print(
        f"{task.name} and {whose}: {found.steps:,} steps of {found.episodes:,} episodes compared, "
        f"{found.differences:,} differences"
    )
    print(f"  {found.successes} ended well, {found.failures} badly, {found.truncations} at the limit")
    if found.first is not None:
        first = found.first
        when = "at its start" if first.action is None else f"at step {first.step}, action {first.action}"
        print(f"first difference: episode {first.episode}, on a level of {first.level}, {when}")
        for field, (ours, theirs) in first.fields.items():
            print(f"  {field}: {ours} here, {theirs} there")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bring:
    """Brings in a Gymnasium environment that is built on Farama's MiniGridEnv: finds what ends its episodes, compares
    every step with it, and draws and keeps its levels. Then `--env minigrid:ID` means it in every command."""

    name: str = dataclasses.field(metadata={"positional": True})
    """Its Gymnasium id."""
    levels: int | None = None
    """Distinct levels to draw; 10,000 by default."""
    steps: int | None = None
    """Steps to compare; 10,000 by default."""
    success: str | None = None
    """The rule by which it ends well, where it is not to be found: goal_reached, ... (docs/environments.md)."""
    failure: str | None = None
    """The rule by which it ends badly."""
    refresh: bool = False
    """Draw other levels, even if some are kept."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours that registers it; may be repeated."""
    json: bool = False
    """Print one JSON object on standard output, and nothing else there."""

    def run(self) -> int:
        from l4t_jax import imported
        from l4t_jax.envs.registry import gym_id_of
        from l4t_jax.reporting import progress

        shown = progress.make()
        try:
            task = imported.import_environment(
                gym_id_of(self.name), levels=self.levels, steps=self.steps, success=self.success,
                failure=self.failure, refresh=self.refresh, told=shown,
            )  # fmt: skip
        finally:
            shown.close()
        facts = imported.facts_of(task)
        if self.json:
            print_json({"task": task.name, "levels": len(task.layout), **dataclasses.asdict(facts)})  # pyright: ignore
        else:
            print(
                f"{task.name}: {task.width} x {task.height}, at most {task.max_steps} steps, {facts.proven:,} compared"
            )
            print(f"ends well by {facts.success}, badly by {facts.failure}")
        return 0


COMMANDS = {"show": Show, "check": Check, "export": Export, "gallery": Gallery, "bring": Bring}


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.tasks") -> int:
    """Runs the command that the first word names, or lists the tasks; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words and not words[0].startswith("-") else None
    kind = List if name is None else COMMANDS.get(name)
    return guarded(lambda: _main(words, prog), () if kind is None else commandline.settings_of(kind))


def _main(words: list[str], prog: str) -> int:
    kind: Any = List
    if words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in COMMANDS:
            commandline.unknown_command("tasks", name, COMMANDS)
        kind, prog = COMMANDS[name], f"{prog} {name}"
    command = commandline.parse(kind, words, prog, " ".join((kind.__doc__ or "").split()))
    with json_only(command.json):
        from l4t_jax import extensions

        extensions.load_all(command.imports)
        return command.run()


def _writable(name: str) -> Path:
    """A path to write to.

    Raises:
        ConfigError: its folder is not there, or it is a folder.
    """
    path = Path(name).expanduser()
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{path} cannot be written: its folder is not there, or it is a folder")
    return path


def print_list(as_json: bool) -> int:
    """Prints all registered tasks, a line each, or one JSON object; returns the exit code."""
    from l4t_jax.envs import get_task, list_tasks
    from l4t_jax.reporting.gallery import described

    tasks = [get_task(name) for name in list_tasks()]
    if as_json:
        print_json({"tasks": [described(task) for task in tasks]})
        return 0
    width = max(len(task.name) for task in tasks)
    for task in tasks:
        also = f" (or {', '.join(task.aliases)})" if task.aliases else ""
        mission = task.say(None if task.mission is None else [0] * len(task.mission.fields))
        about = task.description or f"MiniGrid's {task.family}: {mission or 'no mission'}"
        print(f"{task.name:{width}}  {about}{also}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
