"""A user's own files: loaded once, kept with a run by their hash, and refused in one sentence where they cannot be."""

import codecs
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from l4t_jax import errors, extensions, tasks
from l4t_jax.agents.algorithms import get_algorithm
from l4t_jax.agents.observations import get_observation
from l4t_jax.agents.students import base as students
from l4t_jax.config import Import
from l4t_jax.envs import get_task
from l4t_jax.imported import rules
from l4t_jax.skills.base import get_skill
from l4t_jax.teacher import backends

pytestmark = pytest.mark.usefixtures("own_tasks")

TASK = """
import dataclasses
from l4t_jax import get_task, register_task

register_task(dataclasses.replace(get_task("SimpleDoorKey"), name="{name}", aliases=(), max_steps={steps}))
"""


def task_file(folder: Path, name: str = "Short", steps: int = 40, more: str = "") -> Path:
    path = folder / "my_tasks.py"
    path.write_text(TASK.format(name=name, steps=steps) + more)
    return path


def test_a_file_registers_and_loading_it_again_runs_nothing(tmp_path: Path) -> None:
    path = task_file(tmp_path, more="print('ran')\nCOUNT = []\n")
    module = extensions.load_extension(path)
    module.COUNT.append(1)
    assert get_task("Short").max_steps == 40
    assert extensions.load_extension(str(path)) is module and module.COUNT == [1]


def test_an_edited_file_replaces_what_it_registered(tmp_path: Path) -> None:
    extensions.load_extension(task_file(tmp_path))
    extensions.load_extension(task_file(tmp_path, steps=50))
    assert get_task("Short").max_steps == 50


def test_another_file_may_not_take_the_name(tmp_path: Path) -> None:
    extensions.load_extension(task_file(tmp_path))
    (tmp_path / "other").mkdir()
    with pytest.raises(errors.ExtensionError, match="there is already a task named Short"):
        extensions.load_extension(task_file(tmp_path / "other", steps=50))
    with pytest.raises(errors.ExtensionError, match="there is already a task named SimpleDoorKey"):
        extensions.load_extension(task_file(tmp_path, name="SimpleDoorKey"))
    assert get_task("Short").max_steps == 40


# Of each kind: a file that registers NAME, described by WORD; how that description is read; a name that is taken.
KINDS: dict[str, tuple[str, Callable[[], str], str]] = {
    "task": (
        "import dataclasses\nfrom l4t_jax import get_task, register_task\n"
        "task = dataclasses.replace(get_task('SimpleDoorKey'), name='NAME', aliases=(), description='WORD')\n"
        "register_task(task)\n",
        lambda: get_task("mine").description,
        "LavaDoorKey",
    ),
    "skill": (
        "from l4t_jax.skills.base import Skill, register_skill\n"
        "class Mine(Skill):\n    name, sentence = 'NAME', 'WORD'\nregister_skill(Mine())\n",
        lambda: get_skill("mine").sentence,
        "explore",
    ),
    "student": (
        "from l4t_jax.agents.students import register_student\n"
        "def mine(**settings): 'WORD'\nregister_student('NAME', mine)\n",
        lambda: str(students._STUDENTS["mine"].network.__doc__),
        "ego",
    ),
    "observation": (
        "from l4t_jax.agents.observations import Observation, register_observation\n"
        "def mine(task, state, kernel): 'WORD'\nregister_observation(Observation('NAME', mine))\n",
        lambda: str(get_observation("mine").observe.__doc__),
        "view",
    ),
    "algorithm": (
        "from l4t_jax.agents.algorithms import Algorithm, register_algorithm\n"
        "class Mine(Algorithm):\n    name, label = 'NAME', 'WORD'\n    def update(self, *_): ...\n"
        "register_algorithm(Mine())\n",
        lambda: get_algorithm("mine").label,
        "ppo",
    ),
    "backend": (
        "from l4t_jax.teacher.backends import register_backend\n"
        "def mine(name, task, options): 'WORD'\nregister_backend('NAME', mine)\n",
        lambda: str(backends._OPENERS["mine"].__doc__),
        "openai",
    ),
    "rule": (
        "from l4t_jax.imported import register_rule\ndef mine(transition): 'WORD'\nregister_rule('NAME', mine)\n",
        lambda: str(rules.RULES["mine"].holds.__doc__),
        "target_picked",
    ),
}


def source(kind: str, word: str, name: str = "mine") -> str:
    return KINDS[kind][0].replace("NAME", name).replace("WORD", word)


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind_a_file_replaces_its_own_and_no_other(kind: str, tmp_path: Path) -> None:
    _, described, taken = KINDS[kind]
    path, other = tmp_path / "mine.py", tmp_path / "other.py"
    for word in ("first", "second"):
        path.write_text(source(kind, word))
        extensions.load_extension(path)
        assert described() == word
    for name in ("mine", taken):
        other.write_text(source(kind, "third", name))
        with pytest.raises(errors.ExtensionError, match=f"there is already an? {kind} named {name}; choose another"):
            extensions.load_extension(other)
    assert described() == "second"


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind_a_notebook_cell_can_be_run_again(kind: str) -> None:
    _, described, taken = KINDS[kind]
    for word in ("first", "second"):
        exec(source(kind, word), {"__name__": "__main__"})
        assert described() == word
    with pytest.raises(ValueError, match=f"there is already an? {kind} named mine"):
        exec(source(kind, "third"), {"__name__": "a_module"})
    with pytest.raises(ValueError, match=f"there is already an? {kind} named {taken}"):
        exec(source(kind, "third", taken), {"__name__": "__main__"})
    assert described() == "second"


def test_a_module_is_found_by_its_name_and_beside_it_its_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps_of_mine.py").write_text("STEPS = 44\n")
    (tmp_path / "module_of_mine.py").write_text(
        TASK.format(name="Mine", steps="STEPS").replace(
            "import dataclasses", "import dataclasses\nfrom steps_of_mine import STEPS"
        )
    )
    extensions.load_extension("module_of_mine")
    assert get_task("Mine").max_steps == 44
    assert extensions.as_import("module_of_mine").name == "module_of_mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ny = undefined\n", "my.py cannot be loaded, line 2: NameError: name 'undefined' is not defined"),
        ("def f(:\n", "my.py cannot be loaded, line 1: SyntaxError: invalid syntax"),
        ("import no_such_library\n", "line 1: ModuleNotFoundError: No module named 'no_such_library'"),
        ("def f():\n    raise OSError('two\\nlines')\nf()\n", "line 2: OSError: two lines"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
    ],
)
def test_a_file_that_raises_is_one_sentence_with_the_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "my.py"
    path.write_text(text)
    with pytest.raises(errors.ExtensionError) as error:
        extensions.load_extension(path)
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
    assert all(getattr(module, "__file__", None) != str(path) for module in sys.modules.values())


@pytest.mark.parametrize("name", ["nowhere.py", "no.such.module", "", "~/no-such-file.py", "bad\0name"])
def test_what_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(errors.ExtensionError) as error:
        extensions.load_extension(name)
    assert "\n" not in str(error.value) and "~" not in str(error.value)


def test_a_run_keeps_the_hash_and_a_change_is_refused_or_said(tmp_path: Path) -> None:
    path = task_file(tmp_path)
    kept = extensions.as_import(path)
    assert kept == Import(str(path), extensions.as_import({"name": "x", "sha256": kept.sha256}).sha256)
    path.write_text(path.read_text() + "# more\n")
    with pytest.raises(errors.ExtensionError, match="has changed since the run began"):
        extensions.load_all([kept], strict=True)
    with pytest.warns(errors.ChangedExtension, match="it is loaded as it is now"):
        extensions.load_all([kept])
    assert get_task("Short").max_steps == 40


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, b""])
def test_a_byte_order_mark_does_no_harm(mark: bytes, tmp_path: Path) -> None:
    path = task_file(tmp_path)
    path.write_bytes(mark + path.read_bytes())
    extensions.load_extension(path)
    assert get_task("Short").max_steps == 40


def test_a_file_that_moved_can_be_named_anew(tmp_path: Path) -> None:
    path = task_file(tmp_path)
    kept = extensions.as_import(path)
    moved = path.rename(tmp_path / "moved.py")
    with pytest.raises(errors.ExtensionError, match="`imports` can name the file elsewhere"):
        extensions.load_all([kept], strict=True)
    extensions.load_all([kept], [str(moved)], strict=True)
    assert get_task("Short").max_steps == 40


def test_a_file_that_loads_itself_ends(tmp_path: Path) -> None:
    more = "\nimport l4t_jax\nl4t_jax.load_extension(__file__)\n"
    extensions.load_extension(task_file(tmp_path, more=more))
    assert get_task("Short").max_steps == 40


def test_the_command_lists_the_tasks_of_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import json

    path = task_file(tmp_path)
    assert tasks.main(["--import", str(path), "--json"]) == 0
    listed = json.loads(capfd.readouterr().out)["tasks"]
    assert listed[-1]["name"] == "Short" and listed[-1]["max_steps"] == 40
    first = listed[0]
    assert (first["name"], first["size"], first["symbolic_states"]) == ("SimpleDoorKey", [10, 10], 6)
    assert tasks.main(["--import", str(path), f"--import={path}"]) == 0
    assert "Short" in capfd.readouterr().out.splitlines()[-1]
    path.write_text("1 / 0\n")
    assert tasks.main(["--import", str(path)]) == 2
    assert (
        capfd.readouterr().err
        == f"error: the extension {path} cannot be loaded, line 1: ZeroDivisionError: division by zero\n"
    )
