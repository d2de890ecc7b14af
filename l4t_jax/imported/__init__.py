"""Any environment built on Farama's MiniGrid, brought in: its levels as a pool, its rules found and proven.

Host package, needs the extra `minigrid` to bring an environment in, and not to use it again. `minigrid:ID` is a task's
name wherever one is named; `import_environment` does the same with choices.
"""

from __future__ import annotations

import hashlib
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

from l4t_jax import files
from l4t_jax.envs import Layout, Task
from l4t_jax.envs.pools import FEWEST, LevelPool
from l4t_jax.envs.registry import BROUGHT_IN, gym_id_of
from l4t_jax.errors import CannotImport, ConfigError
from l4t_jax.imported import building, finding, playing, proof, store
from l4t_jax.imported.building import Facts
from l4t_jax.imported.original import Original
from l4t_jax.imported.playing import Episode, Told
from l4t_jax.imported.rules import Rule, register_rule
from l4t_jax.reporting.progress import Lines, Progress

__all__ = ["import_environment", "open_task", "register_rule"]

LEVELS, STEPS = 10_000, 10_000  # drawn; compared
PLAYING_SEED, DRAWING_SEED = 1_000_000, 10_000_000  # first seeds of the original's reset
MANY = 500  # levels drawn in a row of which none is new: there are no more
PATIENCE = 4  # times the steps are played in which no episode ended with a reward
RULES_VERSION = 1  # a change of what is known or proven makes all that is kept be done anew
EVERY = 5.0  # seconds between two lines that say how far it is
FILE = "levels.npz"  # in a run's folder
_OPEN: dict[str, tuple[Facts, Task]] = {}  # those of this process by name, and by id the one that was opened last


def open_task(name: str, told: Told | None = None) -> Task:
    """The task of the name `minigrid:ID`, of one of BabyAI's ids, or of the name that such a task has.

    Of an environment that was brought in before, and whose files are as they were, the levels that are kept are used.

    Args:
        name: of the task.
        told: hears how far it is.

    Raises:
        UnknownTask, ConfigError: there is no such environment, or it cannot be brought in; with the reason.
    """
    if name in _OPEN:
        return _OPEN[name][1]
    if "@" not in name:
        return import_environment(gym_id_of(name), told=told)
    _OPEN[name] = store.named(name)
    return _OPEN[name][1]


def keep_in(folder: Path, task: Task) -> None:
    """Writes the levels of a task into a run's folder, if it is one that was brought in."""
    if task.name in _OPEN:
        facts, _ = _OPEN[task.name]
        files.write_whole(folder / FILE, store.content(facts, _OPEN[task.name][1].layout.levels))  # pyright: ignore


def take_from(folder: Path) -> None:
    """Makes the task known whose levels lie in a run's folder, if there are any.

    Raises:
        CannotImport: the file is damaged.
    """
    if (folder / FILE).is_file():
        facts, task = store.read(folder / FILE)
        _OPEN[task.name] = facts, task


def import_environment(
    gym_id: str,
    *,
    levels: int | None = None,
    steps: int | None = None,
    success: str | None = None,
    failure: str | None = None,
    refresh: bool = False,
    told: Told | None = None,
) -> Task:
    """Brings in a Gymnasium environment that is built on `minigrid.minigrid_env.MiniGridEnv`.

    Its levels are drawn by its own generator and kept. What ends its episodes is found from what it does, among the
    rules in `imported.rules`. Then it is proven: every step of random and seeking actions is compared with the
    original's, its view, mission, reward, termination and truncation.

    Args:
        gym_id: its id.
        levels: how many distinct levels are drawn, 10,000 by default.
        steps: how many steps are compared, 10,000 by default.
        success: rules by name, joined by "or", where they are not to be found.
        failure: the same of episodes that end badly.
        refresh: draw other levels, even if some are kept.
        told: hears how far it is; by default a terminal is told in lines.

    Returns:
        The task; its name is known to `train` and to every command.

    Raises:
        UnknownTask: there is no such environment.
        ConfigError: it cannot be brought in, and why: the first step that differs, or what no rule here does.
    """
    for what, number, least in (("levels", levels, 1), ("steps", steps, 100)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < least):
            raise ConfigError(f"`{what}` must be a whole number of at least {least}, not {number!r}")
    rules = [None if rule is None else Rule.named(rule) for rule in (success, failure)]
    original = Original(gym_id)
    source = _source(original)
    kept = store.newest(gym_id, source)
    if kept is not None and not refresh and _serves(kept[0], levels, steps, success, failure):
        return _opened(gym_id, *kept)
    told = told or (Lines(every=EVERY) if sys.stderr.isatty() else Progress())
    played = _played(original, steps or STEPS, told)
    told.phase(f"comparing {gym_id} with its original")
    try:
        ending = finding.find(original, played, *rules)
    except CannotImport:
        _prove(original, played, finding.ANY, endings=False)  # that something moves otherwise says more
        raise
    _prove(original, played, ending)
    told.notice(f"{gym_id} {ending}; {_steps(played):,} steps are as the original's")
    again = 0 if kept is None else kept[0].refreshed + refresh
    drawn, missions, number = _drawn(original, levels or LEVELS, again, told)
    places = building.places_of(original, missions)
    facts = Facts.of(
        original, ending, places, proven=_steps(played), drawn=number, asked=levels or LEVELS, source=source,
        refreshed=again,
    )  # fmt: skip
    return _opened(gym_id, facts, store.write(facts, building.pool_of(ending, places, drawn, missions)))


def facts_of(task: Task) -> Facts:
    """What is known of a task of this process that was brought in."""
    return _OPEN[task.name][0]


def prove_again(task: Task, steps: int, seed: int = 0) -> int:
    """Compares a task that was brought in with its original anew, on other levels and actions.

    Args:
        task: of this process.
        steps: how many to compare at least.
        seed: of levels and actions.

    Returns:
        How many were compared.

    Raises:
        UnknownTask, ConfigError: the original is not there, or a step differs, which is shown.
    """
    facts = facts_of(task)
    original = Original(facts.id)
    played = list(playing.episodes(original, steps, np.random.default_rng(seed), seed))
    _prove(original, played, finding.Ending(Rule.named(facts.success), Rule.named(facts.failure), facts.penalty))
    return _steps(played)


def _opened(gym_id: str, facts: Facts, task: Task) -> Task:
    _OPEN[task.name] = _OPEN[gym_id] = _OPEN[BROUGHT_IN + gym_id] = facts, task
    return task


def _serves(facts: Facts, levels: int | None, steps: int | None, success: str | None, failure: str | None) -> bool:
    """Whether a pool that is kept is what is asked for."""
    return (
        (levels is None or levels == facts.asked)
        and (steps is None or steps <= facts.proven)
        and all(
            rule is None or Rule.named(rule) == Rule.named(mine)
            for rule, mine in ((success, facts.success), (failure, facts.failure))
        )
    )


def _source(original: Original) -> str:
    """A hash of the files that an environment comes from, of MiniGrid's version and of the rules' here."""
    found = hashlib.sha256(f"{metadata.version('minigrid')} {RULES_VERSION}".encode())
    for path in original.sources():
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _steps(played: list[Episode]) -> int:
    return sum(len(episode.actions) for episode in played)


def _played(original: Original, steps: int, told: Told) -> list[Episode]:
    """Episodes of the original, of so many steps; more where none of them ended with a reward."""
    rng, played = np.random.default_rng(PLAYING_SEED), []
    for _ in range(PATIENCE):
        first, done = PLAYING_SEED + len(played), 0
        for episode in playing.episodes(original, steps, rng, first):
            played.append(episode)
            done += len(episode.actions)
            told.counted(f"playing {original.id}, steps with random and seeking actions", min(done, steps), steps)
        if any(look.reward > 0 for episode in played for look in episode.looks):
            break
    return played


def _prove(original: Original, played: list[Episode], ending: finding.Ending, endings: bool = True) -> None:
    """Compares the episodes with what a task of these endings does on their levels; see `proof.prove`."""
    starts = [playing.start_of(episode) for episode in played]
    missions = [episode.mission for episode in played]
    places = building.places_of(original, missions)
    pool = building.pool_of(ending, places, starts, missions)
    facts = Facts.of(original, ending, places, proven=0, drawn=0, asked=0, source="")
    task = building.task_of(facts, LevelPool(pool, store.digest(facts, pool)), original.id)
    proof.prove(original, task, played, pool, endings)


def _drawn(original: Original, wanted: int, again: int, told: Told) -> tuple[list[Layout], list[str], int]:
    """Distinct levels of the original's generator, their missions, and how many were drawn to find them."""
    found: dict[bytes, tuple[Layout, str]] = {}
    first, number, new = DRAWING_SEED * (again + 1), 0, 0
    while len(found) < wanted and number - new < MANY:
        level, mission = original.level(first + number)
        number += 1
        key = b"".join([mission.encode(), *(np.asarray(leaf).tobytes() for leaf in level if leaf is not None)])
        if key not in found:
            found[key], new = (level, mission), number
            told.counted(f"drawing levels of {original.id}", len(found), wanted)
    levels, missions = zip(*found.values(), strict=True)
    told.notice(f"{original.id}: {len(found):,} distinct levels of {number:,} drawn{_shares(len(found))}")
    return list(levels), list(missions), number


def _shares(number: int) -> str:
    """What a pool of that many levels means for the splits, in words."""
    if number < FEWEST:
        return f"; fewer than {FEWEST:,}, so training, validation and test share them"
    return ""
