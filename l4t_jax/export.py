"""`python -m l4t_jax.export RUN`: a saved student as one file that acts without this package, and its card.

Host module. The file is what `jax.export` serialises: StableHLO for CPU, CUDA and TPU with the parameters inside, for
any number of maps at a time. To read it takes jax, with the `flatbuffers` that `jax.export` needs, and numpy. The card
says what it is and how to call it. As `l4t_jax.export` is the function too, this module can be called like it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from l4t_jax import commandline
from l4t_jax.commandline import guarded, json_only, print_json

if TYPE_CHECKING:
    from l4t_jax.student import Student

DESCRIPTION = (
    "Writes a saved student as one file that needs jax (with flatbuffers) and numpy to act, and a card beside it."
)
FORMAT, VERSION = "l4t-student", 1
PLATFORMS = ("cpu", "cuda", "tpu")
# What the card tells a stranger to do; tests/test_export.py runs it where `l4t_jax` cannot be imported.
LOAD = """\
# needs jax, numpy and flatbuffers (jax.export reads its files with it)
import json
import numpy as np
from jax import export

card = json.load(open("{card}"))
student = export.deserialize(bytearray(open("{file}", "rb").read()))
number = len({first})  # observations: {observations}, as card["observation"] says
memory = np.zeros((number, card["memory"]), np.float32)
starts = np.ones(number, bool)  # True where an episode starts; False afterwards
logits, memory = student.call(observations, memory, starts)  # float32[B, 7]: softmax gives the actions' probabilities
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    run: str = dataclasses.field(metadata={"positional": True})
    """The run folder, such as runs/SimpleDoorKey-l4t-0, or the name of a trained student, such as KeyCorridorS3R3."""
    out: str | None = None
    """The file; its card is written beside it, named likewise but .json."""
    seed: int = 0
    """Which of the run's students, counted from 0."""
    checkpoint: Literal["last", "best"] = "last"
    """last: the parameters at the end. best: those with the highest success on validation levels."""
    imports: tuple[str, ...] = ()
    """A Python file or a module of yours to load; the run's own are loaded anyway."""
    json: bool = False
    """Print the card as one JSON object on standard output, and nothing else there."""


def export(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    checkpoint: Literal["last", "best"] = "last",
    imports: Sequence[Any] = (),
) -> tuple[Path, dict[str, Any]]:
    """Writes a saved student as a file of its own, and its card.

    Args:
        run_dir: the run folder, or the name of a trained student; `~` is the home folder, here and in `out`.
        out: the file; by default RUN/student.jaxexport, and NAME-student.jaxexport of a trained student.
        seed: which of the run's students, counted from 0.
        checkpoint: "last", or "best" by success on the validation levels.
        imports: extensions to load beside those of the run, which are loaded by themselves.

    Returns:
        The file and the content of the card.

    Raises:
        RunFolderError, CheckpointError, ConfigError: as `load_student`; or the file cannot be written.
    """
    import jax

    from l4t_jax.config import with_home
    from l4t_jax.errors import RunFolderError
    from l4t_jax.files import dumps, write_json, write_whole
    from l4t_jax.saved import measured
    from l4t_jax.student import load_student
    from l4t_jax.trained import beside, find

    folder = find(run_dir)
    with jax.enable_x64(False):
        student = load_student(folder, seed=seed, checkpoint=checkpoint, imports=imports)
        memory, data = serialised(student)
    file = beside(folder, "student.jaxexport") if out is None else Path(with_home(out))
    card_file = file.with_suffix(".json")
    known = measured(folder, seed) if checkpoint == "last" else None
    card: dict[str, Any] = dict(
        **_description(student, memory),
        seed=seed,
        checkpoint=checkpoint,
        heldout=known and known["heldout"],
        file=file.name,
        sha256=hashlib.sha256(data).hexdigest(),
        load=_load(student, file.name, card_file.name),
    )
    try:
        write_whole(file, data)
        write_json(card_file, card)
    except OSError as error:
        raise RunFolderError(f"{error.filename or file} cannot be written: {error.strerror}") from error
    return file, json.loads(dumps(card))


def serialised(student: Student) -> tuple[int, bytes]:
    """A student as what `jax.export` writes: how many numbers it remembers from step to step, and the bytes."""
    import jax
    import jax.export as jax_export
    import jax.numpy as jnp
    import numpy as np

    from l4t_jax.agents.policy import one_step
    from l4t_jax.errors import ConfigError

    task, network, template = student.task, student.network, student.template
    plain = student.observation.as_arrays(template)
    if not _of_containers(plain):
        raise ConfigError(
            f"`observation={student.observation.name}` gives a {type(plain).__name__}; a student can be exported if "
            "its observation is made of arrays, dicts, tuples and lists"
        )
    leaves, tree = jax.tree.flatten(network.initial_carry(1))
    widths = [leaf.shape[-1] for leaf in leaves]
    ends = np.cumsum(widths).tolist()

    def act(arrays: Any, memory: Any, starts: Any) -> tuple[Any, Any]:
        observation = student.observation.from_arrays(task, template, arrays)
        carry = jax.tree.unflatten(
            tree, [memory[:, end - width : end] for width, end in zip(widths, ends, strict=True)]
        )
        carry, logits = one_step(network, student.params, carry, observation, starts)
        after = jax.tree.leaves(carry)
        return logits, jnp.concatenate(after, axis=-1) if after else memory

    (number,) = jax_export.symbolic_shape("b")
    shapes = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((number, *leaf.shape), leaf.dtype), plain),
        jax.ShapeDtypeStruct((number, sum(widths)), jnp.float32),
        jax.ShapeDtypeStruct((number,), jnp.bool_),
    )
    return sum(widths), bytes(jax_export.export(jax.jit(act), platforms=PLATFORMS)(*shapes).serialize())


def _of_containers(tree: Any) -> bool:
    """Whether a tree of arrays needs no class of its own to be read again."""
    if type(tree) is dict:
        return all(map(_of_containers, tree.values()))
    return all(map(_of_containers, tree)) if type(tree) in (list, tuple) else hasattr(tree, "dtype")


def _load(student: Student, file: str, card: str) -> str:
    """The card's program for a student."""
    import jax

    plain = student.observation.as_arrays(student.template)
    path, _ = jax.tree_util.tree_leaves_with_path(plain)[0]
    shown = jax.tree.map(lambda leaf: f"{leaf.dtype}[{', '.join(['B', *map(str, leaf.shape)])}]", plain)
    first = f"observations{jax.tree_util.keystr(path)}"
    return LOAD.format(file=file, card=card, first=first, observations=shown)


def _description(student: Student, memory: int) -> dict[str, Any]:
    """What the card says of the student and of what it reads and gives."""
    import jax
    import numpy as np

    from l4t_jax.envs.cells import ACTIONS
    from l4t_jax.reporting import machine

    task = student.task
    return dict(
        format=FORMAT,
        version=VERSION,
        task=task.name,
        about=task.description,
        algo=student.config.algo,
        student=student.config.student,
        parameters=sum(int(np.size(leaf)) for leaf in jax.tree.leaves(student.params)),
        observation=_observed(student),
        memory=memory,
        actions=dict(enumerate(ACTIONS)),
        platforms=list(PLATFORMS),
        versions=machine.versions(),
    )


def _observed(student: Student) -> dict[str, Any]:
    """What the card says of the observation: its shape, and what the numbers of a map mean."""
    import jax

    from l4t_jax.envs.cells import COLOURS
    from l4t_jax.envs.state import MemoryMap

    observation, task = student.observation, student.task
    plain = observation.as_arrays(student.template)
    said: dict[str, Any] = dict(
        name=observation.name,
        shape=jax.tree.map(lambda leaf: ["b", *leaf.shape], plain),
        dtype=jax.tree.map(lambda leaf: str(leaf.dtype), plain),
    )
    if not isinstance(student.template, MemoryMap):
        return said
    cell = "x first; per cell MiniGrid's object, colour and state"
    if observation.pose is None:
        said["layout"] = (
            f"the map that the agent remembers of this episode, {cell}, then 4, but at the agent's cell its direction: "
            "0 right (x + 1), 1 down (y + 1), 2 left, 3 up"
        )
    else:
        x, y, _ = observation.pose(task)
        said["layout"] = f"what the agent sees now, {cell}; the agent is at ({x}, {y}) and looks up, to smaller y"
    if task.mission is not None:
        said["mission"] = {name: list(words) for name, words in task.mission.fields}
    return dict(
        **said,
        objects="0 not seen, 1 empty, 2 wall, 3 floor, 4 door, 5 key, 6 ball, 7 box, 8 goal, 9 lava; the agent's own "
        "cell shows what it carries, else empty",
        colours=dict(enumerate(COLOURS)),
        states="of a door: 0 open, 1 closed, 2 locked; else 0",
    )


def main(argv: Sequence[str] | None = None, prog: str = "python -m l4t_jax.export") -> int:
    """Runs the command; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if argv is None else argv, prog), commandline.settings_of(Command))


def _main(argv: Sequence[str], prog: str) -> int:
    command = commandline.parse(Command, argv, prog, DESCRIPTION, lambda name: "RUN/student.jaxexport")
    with json_only(command.json):
        file, card = export(
            command.run, command.out, seed=command.seed, checkpoint=command.checkpoint, imports=command.imports
        )
        if command.json:
            print_json(card)
            return 0
    print(f"{file}: a student of {card['task']} ({card['student']}, {card['parameters']:,} parameters)")
    print(f"{file.with_suffix('.json')}: its card; to load it:\n\n{card['load']}")
    return 0


commandline.callable_as(__name__, export)


if __name__ == "__main__":
    sys.exit(main())
