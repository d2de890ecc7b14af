"""The teacher file: one JSON format for recorded, LLM-made and hand-written teachers.

Host module. Version 1:

    {"format": "l4t-teacher", "version": 1, "task": "SimpleDoorKey", "made": "recorded" | "llm" | "hand-written",
     "about": "one line", "source": {...}, "states": [
        {"sees": ["key"], "holds": null, "answers": 50, "unusable": 0,
         "plans": [{"p": 0.98, "skills": [["go_to", "key"], ["pick_up", "key"]]}, ...]}, ...]}

`made` is the origin of the plans. `source` is how they were asked for: model, sampling, versions, date, as far as
known. The probabilities of a state sum to 1. Tasks that rename colours use color1, color2 here. `["noop"]` is a step
that names no known skill or object.

A file may say "follow", the share of its plans in a label, from 0 to 1 and 1 where it is absent; the rest is spread
evenly over all steps that can do something now.

A sampled state may have the number of "answers", how many of them were "unusable", and the number of "noops" among
the steps. A scored state may have the number of plans "scored", and "in_grammar": the probability that a free answer
of the model is in the grammar. A state without a usable answer has no plans and gives no guidance.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import msgspec
import numpy as np

from l4t_jax import files
from l4t_jax.abstraction import symbolic
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.config import with_home
from l4t_jax.envs.task import Task
from l4t_jax.errors import TeacherFileError
from l4t_jax.skills import plan_codes
from l4t_jax.teacher.policy import TeacherTable

FORMAT, VERSION = "l4t-teacher", 1
MADE = ("recorded", "llm", "hand-written")


def load(source: str | Path) -> dict[str, Any]:
    """Reads and checks a teacher file.

    Raises:
        TeacherFileError: it cannot be read, is not JSON, or is not a teacher file of this version.
    """
    try:
        text = files.read_text(source)
    except OSError as error:
        raise TeacherFileError(f"the teacher file {source} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise TeacherFileError(f"the teacher file {source} cannot be read: it is not UTF-8 or UTF-16 text") from None
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise TeacherFileError(f"the teacher file {source} is not JSON: {error}") from error
    check(content, str(source))
    return content


def shipped(task: Task) -> dict[str, Any]:
    """The task's own teacher file.

    Raises:
        TeacherFileError: the task has none.
    """
    if task.teacher is None:
        raise TeacherFileError(f"{task.name} has no teacher of its own; pass `teacher=file:PATH` or `teacher=none`")
    here = resources.files("l4t_jax.teacher") / "data" / task.teacher
    with resources.as_file(here) as path:
        return load(path if path.exists() else Path(task.teacher))


def skills_alone(task: Task) -> dict[str, Any]:
    """A teacher file without plans: in every state that can occur, all steps that can do something now, alike.

    It shows what the skills teach without an LLM.
    """
    noop = [{"p": 1.0, "skills": [list(plan_codes.steps(task)[plan_codes.NOOP_CODE])]}]
    return {
        "format": FORMAT, "version": VERSION, "task": task.name, "made": "hand-written",
        "about": "No plans: all steps that can do something now, alike.", "follow": 0.0,
        "states": [{"sees": list(one.sees), "holds": one.holds, "plans": noop} for one in _states(task)],
    }  # fmt: skip


def dump(content: dict[str, Any]) -> str:
    """A teacher file's text: one line per plan, fields in a fixed order, so that `diff` shows changes well."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    states = []
    for state in content["states"]:
        head = ", ".join(f"{line(name)}: {line(value)}" for name, value in state.items() if name != "plans")
        plans = ",\n".join(f"    {line(entry)}" for entry in state["plans"])
        states.append(f'  {{{head}, "plans": [\n{plans}]}}' if plans else f'  {{{head}, "plans": []}}')
    fields = []
    for name, value in content.items():
        if name == "source" and isinstance(value, dict) and value:
            inner = ",\n".join(f"  {line(key)}: {line(v)}" for key, v in value.items())
            fields.append(f' "source": {{\n{inner}\n }}')
        elif name != "states":
            fields.append(f" {line(name)}: {line(value)}")
    return "{\n" + ",\n".join([*fields, ' "states": [\n' + ",\n".join(states) + "\n ]"]) + "\n}\n"


def save(content: dict[str, Any], path: str | Path) -> None:
    """Writes a teacher file, whole or not at all.

    Raises:
        TeacherFileError: it is not a teacher file, or cannot be written.
    """
    check(content, str(path))
    path = Path(with_home(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, dump(content))
    except OSError as error:
        raise TeacherFileError(f"the teacher file {path} cannot be written: {error.strerror or error}") from error


def state_of(entry: Mapping[str, Any]) -> Symbolic:
    """The symbolic state that an entry of `states` is about, under the names used in prompts."""
    return Symbolic(tuple(entry["sees"]), entry["holds"])


def missing(task: Task, content: dict[str, Any]) -> list[Symbolic]:
    """The task's symbolic states for which the file has no plans, under the names used in prompts."""
    known = {state_of(entry) for entry in content["states"] if entry["plans"]}
    return [state for state in _states(task) if state not in known]


def _states(task: Task) -> dict[Symbolic, None]:
    """The task's symbolic states, each once, under the names used in prompts; the keys, in order."""
    renamed = (symbolic.rename(task, symbolic.decode(task, state))[0] for state in symbolic.enumerate_states(task))
    return dict.fromkeys(renamed)


def digest(content: dict[str, Any]) -> str:
    """A hash of a teacher file's content, 16 hex digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def describe(content: dict[str, Any], how: str) -> str:
    """One line for tables and summaries, such as "shipped (recorded)"."""
    return f"{how} ({content['made']})"


class _Plan(msgspec.Struct):
    p: Annotated[float, msgspec.Meta(ge=0, le=1)]
    skills: list[Annotated[list[str], msgspec.Meta(min_length=1)]]


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _State(msgspec.Struct):
    sees: list[str]
    holds: str | None
    plans: list[_Plan]
    answers: _Count = 0
    unusable: _Count = 0
    noops: _Count = 0


class _TeacherFile(msgspec.Struct):
    format: Literal["l4t-teacher"]
    version: Literal[1]
    made: Literal["recorded", "llm", "hand-written"]
    task: str
    states: list[_State]
    follow: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0


_COUNT = "must be a whole number of at least 0"
_RIGHT = {  # what a field must be
    "format": f'must be "{FORMAT}"',
    "version": f"must be {VERSION}, the one that this program reads",
    "made": f"must be one of {', '.join(MADE)}",
    "task": "must name the task",
    "states": "must list the states, each an object",
    "follow": "must be a number from 0 to 1",
    "sees": "must list names",
    "holds": "must be a name or null",
    "plans": "must list plans, each an object",
    "p": "must be a number from 0 to 1",
    "skills": 'must list steps such as ["go_to", "key"]',
    **dict.fromkeys(("answers", "unusable", "noops"), _COUNT),
}


def check(content: Any, name: str) -> None:
    """Raises `TeacherFileError` unless `content` is a teacher file of this version."""

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise TeacherFileError(f"{name}: {message}")

    try:
        checked = msgspec.convert(content, _TeacherFile)
    except msgspec.ValidationError as error:
        raise TeacherFileError(f"{name}: {_sentence(error)}") from None
    seen: set[tuple[Any, ...]] = set()
    for number, state in enumerate(checked.states):
        where = f"state {number}"
        key = (*state.sees, "|", state.holds)
        require(
            key not in seen,
            f"{where} repeats the state of an earlier one ({Symbolic(tuple(state.sees), state.holds).sentence})",
        )
        seen.add(key)
        if 0 < state.answers == state.unusable and not state.plans:
            continue  # asked, but no answer was usable: no guidance
        require(len(state.plans) > 0, f'{where}: "plans" must list at least one plan')
        total = sum(plan.p for plan in state.plans)
        require(abs(total - 1.0) < 1e-3, f"{where}: the probabilities sum to {total:g}, not 1")


def _sentence(error: msgspec.ValidationError) -> str:
    """What is wrong and where, from a message like "Expected `float`, got `str` - at `$.states[0].plans[1].p`"."""
    reason, _, path = str(error).partition(" - at ")
    missing_ = re.search(r"required field `(\w+)`", reason)
    steps = re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path)
    fields = [field for field, _ in steps if field]
    field = missing_[1] if missing_ else fields[-1] if fields else "format"
    places = re.findall(r"\.(states|plans)\[(\d+)\]", path)
    where = ", ".join(f"{kind[:-1]} {number}" for kind, number in places)
    if field == "format":
        where = "not a teacher file"
    return f'{where}: "{field}" {_RIGHT[field]}'.removeprefix(": ")


def to_table(task: Task, content: dict[str, Any]) -> TeacherTable:
    """The file as arrays for the device.

    A state of the task that is not in the file gets no guidance (all its probabilities are 0).

    Raises:
        TeacherFileError: a plan names a skill or an object that the task does not have, or a state an object, or a
            state lists its objects in another order.
    """
    known = _states(task)
    for state in map(state_of, content["states"]):
        if state not in known:
            _require_possible(task, state, known, own=content.get("task") == task.name)
    return pack_table(task, to_rows(task, content, symbolic.enumerate_states(task)), content.get("follow", 1.0))


def to_rows(task: Task, content: dict[str, Any], states: Iterable[int]) -> dict[int, list[tuple[float, list[int]]]]:
    """The argument of `pack_table`, for those of the given symbolic state ids that are in the file.

    Raises:
        TeacherFileError: a plan names a skill or an object that the task does not have.
    """
    entries = {state_of(entry): entry["plans"] for entry in content["states"]}
    rows: dict[int, list[tuple[float, list[int]]]] = {}
    for state in states:
        renamed, objects = symbolic.rename(task, symbolic.decode(task, state))
        plans = entries.get(renamed)
        if plans is None:
            continue
        rows[state] = [(p["p"], [_code(task, step, objects, renamed) for step in p["skills"]]) for p in plans]
    return rows


def _require_possible(task: Task, state: Symbolic, known: Collection[Symbolic], own: bool) -> None:
    """Raises `TeacherFileError` if a state that is none of the task's is meant for one: its advice would be lost.

    A file of another task of the family (not `own`) may name objects that this task does not have.
    """
    same = next((one for one in known if set(one.sees) == set(state.sees) and one.holds == state.holds), None)
    if same is not None:
        raise TeacherFileError(
            f"{state.sentence} must list what is seen in the order of {task.name}, portable objects first: "
            f"{same.sentence}"
        )
    names = {name for one in known for name in (*one.sees, one.holds) if name}
    strange = [name for name in (*state.sees, state.holds) if name is not None and name not in names]
    if strange and own:
        raise TeacherFileError(
            f"{state.sentence} names {strange[0]!r}, which {task.name} does not have; its names are "
            f"{', '.join(sorted(names))}"
        )


def pack_table(task: Task, rows: dict[int, list[tuple[float, list[int]]]], follow: float = 1.0) -> TeacherTable:
    """Symbolic state id -> [(probability, step codes)] as arrays, and the share of these plans in a label."""
    most = max((len(plans) for plans in rows.values()), default=1) or 1
    longest = max((len(steps) for plans in rows.values() for _, steps in plans), default=1) or 1
    number = len(rows)  # the last row is for all states without plans
    row_of = np.full(symbolic.num_states(task), number, np.int32)
    codes = np.full((number + 1, most, longest), plan_codes.NOOP_CODE, np.int32)
    probability = np.zeros((number + 1, most), np.float32)
    for row, (state, plans) in enumerate(sorted(rows.items())):
        row_of[state] = row
        total = sum(p for p, _ in plans)
        for i, (p, steps) in enumerate(plans):
            codes[row, i, : len(steps)] = steps
            probability[row, i] = p / total
    return TeacherTable(
        row=jnp.asarray(row_of),
        plans=jnp.asarray(codes),
        probability=jnp.asarray(probability),
        success=jnp.float32(1),
        follow=jnp.float32(follow),
    )


def _code(task: Task, step: list[str], objects: dict[str, str], state: Symbolic) -> int:
    skill, *names = step
    try:
        return plan_codes.encode_step(task, (skill, *(objects[name] for name in names)))
    except KeyError as error:
        known = ", ".join(objects) or "none"
        raise TeacherFileError(
            f"{state.sentence} names {error.args[0]!r}, which is unknown there; the known objects are {known}"
        ) from error
    except ValueError as error:
        raise TeacherFileError(f"{state.sentence} {error}") from error
