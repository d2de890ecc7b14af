"""Teacher files: what the shipped ones say, how they become arrays, and what is refused."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from oracles import teacher as oracle

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import get_task
from l4t_jax.skills import plan_codes
from l4t_jax.teacher import file, open_teacher

RECORDED = Path(__file__).parents[1] / "data" / "recorded_plans.json"


def test_the_shipped_file_says_who_made_it(task_name):
    content = file.shipped(get_task(task_name))
    assert content["made"] == ("hand-written" if task_name.startswith("DoorKey-") else "recorded")
    assert content["made"] in file.describe(content, "shipped")


def test_the_shipped_plans_are_the_recorded_ones(paper_task):
    recorded = oracle.load_tables(RECORDED)[paper_task]
    shipped = {
        (tuple(s["sees"]), s["holds"]): [(p["p"], p["skills"]) for p in s["plans"]]
        for s in file.shipped(get_task(paper_task))["states"]
    }
    assert shipped.keys() == recorded.keys()
    for state, plans in recorded.items():
        total = sum(p for p, _ in plans)
        assert sorted((round(p / total, 4), json.dumps(skills)) for p, skills in plans) == sorted(
            (round(p, 4), json.dumps(skills)) for p, skills in shipped[state]
        )


def test_the_table_holds_every_plan_of_the_file_in_the_tasks_own_names(task_name, teacher_of):
    task, table = get_task(task_name), teacher_of(task_name)
    content = {(tuple(s["sees"]), s["holds"]): s["plans"] for s in file.shipped(task)["states"]}
    states = symbolic.enumerate_states(task)
    for state in range(symbolic.num_states(task)):
        weights = np.asarray(table.probability[table.row[state]])
        assert weights.sum() == pytest.approx(1.0 if state in states else 0.0, abs=1e-6)
    for state in states:
        renamed, objects = symbolic.rename(task, symbolic.decode(task, state))
        for i, entry in enumerate(content[renamed.sees, renamed.holds]):
            codes = np.asarray(table.plans[table.row[state], i]).tolist()
            expected = [(skill, *(objects[name] for name in names)) for skill, *names in entry["skills"]]
            steps = [plan_codes.decode_step(task, one) for one in codes]
            assert steps == expected + [("noop",)] * (len(codes) - len(expected))


def test_a_state_that_the_file_lacks_gets_no_guidance():
    task = get_task("SimpleDoorKey")
    content = copy.deepcopy(file.shipped(task))
    content["states"] = [s for s in content["states"] if s["sees"] != ["key"]]
    table = file.to_table(task, content)
    lacking = symbolic.encode(task, symbolic.Symbolic(("key",), None))
    assert float(table.probability[table.row[lacking]].sum()) == 0.0


GOOD = {
    "format": "l4t-teacher", "version": 1, "task": "SimpleDoorKey", "made": "llm", "about": "", "source": {},
    "states": [{"sees": ["key"], "holds": None, "plans": [{"p": 1.0, "skills": [["go_to", "key"]]}]}],
}  # fmt: skip


def changed(path, value):
    content = copy.deepcopy(GOOD)
    *way, last = path
    at = content
    for word in way:
        at = at[word]
    at[last] = value
    return content


@pytest.mark.parametrize(
    "content, reason",
    [
        ([], "format"),
        (changed(["format"], "other"), "format"),
        (changed(["version"], 2), "version"),
        (changed(["made"], "dreamt"), "recorded"),
        (changed(["task"], None), "task"),
        (changed(["states"], {}), "states"),
        (changed(["states", 0, "sees"], "key"), "sees"),
        (changed(["states", 0, "holds"], 3), "holds"),
        (changed(["states", 0, "plans"], []), "plans"),
        (changed(["states", 0, "plans", 0, "p"], 0.5), "sum to 0.5"),
        (changed(["states", 0, "plans", 0, "p"], True), "p"),
        (changed(["states", 0, "plans", 0, "p"], -1), "p"),
        (changed(["states", 0, "plans", 0, "skills"], [["go_to", 3]]), "skills"),
        (changed(["states"], GOOD["states"] * 2), "Agent sees <key>"),
        (changed(["states"], [3]), r'state 0: "states" must list the states, each an object$'),
        (changed(["states", 0, "plans", 0], []), r'state 0, plan 0: "plans" must list plans, each an object$'),
        (changed(["states", 0, "plans", 0, "p"], "1"), r'state 0, plan 0: "p" must be a number from 0 to 1$'),
        (changed(["states", 0, "plans", 0, "p"], float("nan")), r'"p" must be a number from 0 to 1$'),
        (changed(["states", 0, "answers"], 1.5), r'state 0: "answers" must be a whole number of at least 0$'),
        (changed(["states", 0, "plans", 0, "skills"], [[]]), r'must list steps such as \["go_to", "key"\]$'),
        (
            {name: value for name, value in GOOD.items() if name != "made"},
            r'"made" must be one of recorded, llm, hand-wr',
        ),
        (changed(["states", 0], {"sees": [], "plans": []}), r'state 0: "holds" must be a name or null$'),
        (changed(["version"], True), "version"),
        (changed(["follow"], 1.5), r'"follow" must be a number from 0 to 1$'),
        (changed(["follow"], "half"), r'"follow" must be a number from 0 to 1$'),
    ],
)
def test_what_is_no_teacher_file_is_refused_with_what_is_wrong(content, reason, tmp_path):
    path = tmp_path / "teacher.json"
    path.write_text(json.dumps(content))
    with pytest.raises(file.TeacherFileError, match=reason) as caught:
        file.load(path)
    assert "\n" not in str(caught.value) and "$" not in str(caught.value)


def test_a_file_may_say_how_far_its_plans_are_meant():
    task = get_task("SimpleDoorKey")
    assert float(file.to_table(task, GOOD).follow) == 1.0
    assert float(file.to_table(task, changed(["follow"], 0.25)).follow) == 0.25


@pytest.mark.parametrize("name", ["SimpleDoorKey", "ColoredDoorKey", "KeyCorridorS3R3"])
def test_the_skills_alone_are_a_teacher_file_for_every_state_without_a_plan_in_it(name, tmp_path):
    task = get_task(name)
    content = file.skills_alone(task)
    file.save(content, tmp_path / "skills.json")
    assert file.load(tmp_path / "skills.json") == content and file.missing(task, content) == []
    table = file.to_table(task, content)
    assert float(table.follow) == 0.0 and not np.asarray(table.plans).any()


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "teacher.json"
    path.write_text(json.dumps(GOOD))
    assert file.load(path) == GOOD
    assert file.digest(GOOD) == file.digest(json.loads(json.dumps(GOOD))) != file.digest(changed(["about"], "x"))


@pytest.mark.parametrize(
    "form", [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\r\n"), ("utf-16-le", "\n"), ("utf-16-be", "\r")]
)
def test_a_file_is_read_as_any_editor_writes_it(form, tmp_path):
    encoding, end = form
    path = tmp_path / "teacher.json"
    path.write_bytes(json.dumps(GOOD, indent=1).replace("\n", end).encode(encoding))
    assert file.load(path) == GOOD


@pytest.mark.parametrize("text", [None, "{", "\xff"])
def test_what_cannot_be_read_is_said_in_one_sentence(text, tmp_path):
    path = tmp_path / "teacher.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(file.TeacherFileError, match=r"teacher\.json"):
        file.load(path)


@pytest.mark.parametrize(
    ("sees", "holds", "reason"),
    [
        (["door", "key"], None, "must list what is seen in the order of SimpleDoorKey, .*sees <key>, <door>, holds"),
        (["keys"], None, "names 'keys', which SimpleDoorKey does not have; its names are door, key$"),
        ([], "nothing", "names 'nothing', which SimpleDoorKey does not have"),
    ],
)
def test_a_state_that_no_state_of_the_task_is_written_as_is_refused(sees, holds, reason):
    content = {**GOOD, "states": [{"sees": sees, "holds": holds, "plans": [{"p": 1.0, "skills": [["explore"]]}]}]}
    with pytest.raises(file.TeacherFileError, match=reason) as caught:
        file.to_table(get_task("SimpleDoorKey"), content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "skills, reason", [([["fly", "key"]], "fly"), ([["go_to", "ball"]], "ball"), ([["search"]], "search")]
)
def test_a_plan_that_the_task_has_not_is_refused(skills, reason):
    with pytest.raises(file.TeacherFileError, match=reason):
        file.to_table(get_task("SimpleDoorKey"), changed(["states", 0, "plans", 0, "skills"], skills))


def test_the_skills_alone_are_a_teacher_by_name():
    task = get_task("SimpleDoorKey")
    content, said = open_teacher("skills", task)
    assert content == file.skills_alone(task) and said == "skills at random, no plans"
