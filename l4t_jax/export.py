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
memory = np.zeros((len(observations), card["memory"]), np.float32)  # observations: uint8[B, W, H, 4]
starts = np.ones(len(observations), bool)  # True where an episode starts; False afterwards
logits, memory = student.call(observations, memory, starts)  # float32[B, 7]: softmax gives the actions' probabilities
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """The command's options."""

    run: str = dataclasses.field(metadata={"positional": True})
    """The run folder, such as runs/SimpleDoorKey-l4t-0."""
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
        run_dir: the run folder; `~` is the home folder, here and in `out`.
        out: the file; RUN/student.jaxexport by default.
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
    from l4t_jax.reporting import run_folder
    from l4t_jax.student import load_student

    folder = Path(with_home(run_dir))
    with jax.enable_x64(False):
        student = load_student(folder, seed=seed, checkpoint=checkpoint, imports=imports)
        memory, data = serialised(student)
    file = folder / "student.jaxexport" if out is None else Path(with_home(out))
    card_file = file.with_suffix(".json")
    summary = folder / run_folder.SUMMARY
    known = checkpoint == "last" and summary.is_file()
    card: dict[str, Any] = dict(
        **_description(student, memory),
        seed=seed,
        checkpoint=checkpoint,
        heldout=_figures(run_folder.read(summary), seed) if known else None,
        file=file.name,
        sha256=hashlib.sha256(data).hexdigest(),
        load=LOAD.format(file=file.name, card=card_file.name),
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

    from l4t_jax.agents.policy import student_policy
    from l4t_jax.envs.state import from_observation
    from l4t_jax.kernels import PORTABLE

    task, params = student.task, student.params
    network = student.network.clone(kernel=PORTABLE)  # the file is to run on any processor
    leaves, tree = jax.tree.flatten(network.initial_carry(1))
    widths = [leaf.shape[-1] for leaf in leaves]
    ends = np.cumsum(widths).tolist()

    def act(observation: Any, memory: Any, starts: Any) -> tuple[Any, Any]:
        seen = from_observation(observation, jnp.full((observation.shape[0], 2), -1, jnp.int8))
        carry = jax.tree.unflatten(
            tree, [memory[:, end - width : end] for width, end in zip(widths, ends, strict=True)]
        )
        carry, logits = student_policy(network, params)(carry, seen, starts)
        after = jax.tree.leaves(carry)
        return logits, jnp.concatenate(after, axis=-1) if after else memory

    (number,) = jax_export.symbolic_shape("b")
    shapes = (
        jax.ShapeDtypeStruct((number, task.width, task.height, 4), jnp.uint8),
        jax.ShapeDtypeStruct((number, sum(widths)), jnp.float32),
        jax.ShapeDtypeStruct((number,), jnp.bool_),
    )
    return sum(widths), bytes(jax_export.export(jax.jit(act), platforms=PLATFORMS)(*shapes).serialize())


def _description(student: Student, memory: int) -> dict[str, Any]:
    """What the card says of the student and of what it reads and gives."""
    import jax
    import numpy as np

    from l4t_jax.envs.cells import ACTIONS, COLOURS
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
        observation=dict(
            shape=["b", task.width, task.height, 4],
            dtype="uint8",
            layout="the map that the agent remembers of this episode, x first; per cell MiniGrid's object, colour and "
            "state, then 4, but at the agent's cell its direction: 0 right (x + 1), 1 down (y + 1), 2 left, 3 up",
            objects="0 never seen, 1 empty, 2 wall, 3 floor, 4 door, 5 key, 6 ball, 7 box, 8 goal, 9 lava; the agent's "
            "own cell shows what it carries, else empty",
            colours=dict(enumerate(COLOURS)),
            states="of a door: 0 open, 1 closed, 2 locked; else 0",
        ),
        memory=memory,
        actions=dict(enumerate(ACTIONS)),
        platforms=list(PLATFORMS),
        versions=machine.versions(),
    )


def _figures(summary: dict[str, Any], seed: int) -> dict[str, Any]:
    """One student's held-out figures, and those of its teacher and of chance."""
    heldout = summary["heldout"]
    own = {name: values[seed] for name, values in heldout["student"].items() if name != "greedy"}
    greedy = {name: values[seed] for name, values in heldout["student"]["greedy"].items()}
    return dict(
        levels=heldout["levels"], sampled=own, greedy=greedy, teacher=heldout["teacher"], random=heldout["random"]
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
    print(f"{file}: a {card['student']} student of {card['parameters']:,} parameters for {card['task']}")
    print(f"{file.with_suffix('.json')}: its card; to load it:\n\n{card['load']}")
    return 0


commandline.callable_as(__name__, export)


if __name__ == "__main__":
    sys.exit(main())
