"""Training and evaluating from Python: one tiny run, looked at from every side, and the refusals."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import l4t_jax
from l4t_jax import api, checkpoint, loop, metrics, options, programs, run, symbolic
from l4t_jax.config import Config, ConfigError
from l4t_jax.progress import Progress
from l4t_jax.tasks import UnknownTask, get_task
from l4t_jax.teacher import ask as asking
from l4t_jax.teacher import backends, grammar, live
from l4t_jax.teacher import file as teacher_file
from l4t_jax.teacher.backends import BackendError, register_backend
from l4t_jax.teacher.file import TeacherFileError
from l4t_jax.teacher.grammar import write_plan
from l4t_jax.types import NUM_ACTIONS

TINY = Config(
    env="DoorKey", num_seeds=2, num_envs=8, num_steps=16, total_steps=8 * 16 * 5, evaluations=3, minibatches=2,
    hidden=16, validation_boards=16, heldout_boards=24, board_pool=32,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """These tests run the same programs again and again: keep them, for as long as the tests run."""
    before = jax.config.jax_enable_compilation_cache, jax.config.jax_compilation_cache_dir
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("programs")))
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", before[0])
    jax.config.update("jax_compilation_cache_dir", before[1])
    compilation_cache.reset_cache()


class Spy(Progress):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.began: list[Any] = []
        self.records: list[dict[str, Any]] = []
        self.closed = 0

    def phase(self, words: str) -> None:
        self.phases.append(words)

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        self.began.append((total_steps, teacher, run_dir))

    def evaluated(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def close(self) -> None:
        self.closed += 1


EARNED: list[Any] = []  # the students' parameters at each evaluation of `tiny`
# What its choice of best parameters was told: seed 0 does best in the second block, seed 1 in the first.
TOLD = [([0.1, 0.9], [0.0, 0.9]), ([0.7, 0.9], [0.0, 0.8]), ([0.7, 0.2], [0.0, 0.9])]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[api.Result, Spy]:
    """One run of `TINY`."""
    spy = Spy()
    keep = loop.Run._keep_best

    def told(self: loop.Run, validation: dict[str, list[float]]) -> None:
        success, reward = TOLD[len(EARNED)]
        EARNED.append(checkpoint.to_host(self.state.params))
        keep(self, {"success": success, "return": reward})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "_keep_best", told)
        patch.setattr("wandb.init", None)  # not touched unless asked for
        folder = tmp_path_factory.mktemp("run") / "tiny"
        return l4t_jax.train(TINY, progress=spy, run_dir=str(folder)), spy


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def reject_constants(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_summary_has_the_fields_of_the_design(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    summary = reject_constants((result.run_dir / "summary.json").read_text())
    assert summary == result.summary
    assert list(summary) == [
        "task", "algo", "teacher", "device", "versions", "total_steps", "env_steps_per_s", "seconds", "heldout",
        "steps_to_success",
    ]  # fmt: skip
    assert (summary["task"], summary["algo"], summary["teacher"]) == ("SimpleDoorKey", "l4t", "shipped (recorded)")
    assert summary["total_steps"] == 8 * 16 * 5
    assert set(summary["seconds"]) == {"compile", "train", "evaluate"}
    assert all(seconds > 0 for seconds in summary["seconds"].values())
    assert summary["env_steps_per_s"] == pytest.approx(2 * 8 * 16 * 5 / summary["seconds"]["train"])
    heldout = summary["heldout"]
    assert heldout["boards"] == 24
    for name in ("success", "return", "length"):
        assert len(heldout["student"][name]) == len(heldout["student"]["greedy"][name]) == 2
        assert isinstance(heldout["teacher"][name], float) and isinstance(heldout["random"][name], float)
    assert heldout["teacher"]["success"] > 0.9 > 0.5 > heldout["random"]["success"]
    assert summary["steps_to_success"] == {level: [None, None] for level in ("0.50", "0.90", "0.95")}


def test_the_run_folder_is_complete(tiny: tuple[api.Result, Spy]) -> None:
    names = {path.name for path in tiny[0].run_dir.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    assert names - events == {
        "config.json", "metrics.jsonl", "checkpoints", "curves.png", "student.gif", "teacher.gif", "summary.json",
        "teacher.json", "report.html",
    }  # fmt: skip


def test_every_block_leaves_a_line_and_the_progress_hears_it(tiny: tuple[api.Result, Spy]) -> None:
    result, spy = tiny
    written = lines(result.run_dir)
    assert written == spy.records == result.records
    assert [line["updates"] for line in written] == [2, 3, 5]  # 5 updates in 3 blocks, as even as can be
    assert [line["steps"] for line in written] == [256, 384, 640]
    assert spy.began[0][0] == 640 and spy.began[0][1] > 0.9
    assert spy.phases[0] == "compiling" and spy.closed == 1
    for line in written:
        assert set(line) == {"steps", "updates", "train", "validation", "time"}
        assert all(np.isfinite(line["train"]["loss"])) and len(line["train"]["loss"]) == 2


def test_the_averages_of_a_short_block_leave_out_updates_that_did_not_run(tiny: tuple[api.Result, Spy]) -> None:
    weights = [line["train"]["distill_weight"] for line in lines(tiny[0].run_dir)]
    # 5 updates; the weight falls from 1 at the start to 0 at half of the run: 1, 0.6, 0.2, 0, 0.
    assert weights == pytest.approx([0.8, 0.2, 0.0], abs=1e-6)


def test_the_same_run_twice_differs_in_time_alone_even_in_another_thread(
    tiny: tuple[api.Result, Spy], tmp_path: Path
) -> None:
    found: list[api.Result] = []
    thread = threading.Thread(target=lambda: found.append(l4t_jax.train(TINY, run_dir=str(tmp_path / "again"))))
    thread.start()
    thread.join()

    def timeless(run_dir: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "time"} for line in lines(run_dir)]

    assert timeless(found[0].run_dir) == timeless(tiny[0].run_dir)
    assert found[0].summary["heldout"] == tiny[0].summary["heldout"]


def test_seeds_of_one_run_differ(tiny: tuple[api.Result, Spy]) -> None:
    assert any(np.any(leaf[0] != leaf[1]) for leaf in jax.tree.leaves(tiny[0].params))
    loss = lines(tiny[0].run_dir)[0]["train"]["loss"]
    assert loss[0] != loss[1]


def test_evaluating_again_gives_the_numbers_of_the_summary(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    found = l4t_jax.evaluate(result.run_dir)
    student = result.summary["heldout"]["student"]
    assert found["boards"] == 24
    assert found["seeds"] == {name: student[name] for name in ("success", "return", "length")}
    assert found["greedy"] == student["greedy"]
    for name in ("success", "return", "length"):
        assert found[name] == pytest.approx(np.mean(student[name]))
        assert found["intervals"][name][0] <= found[name] <= found["intervals"][name][1]


def test_fewer_boards_are_the_first_ones(tiny: tuple[api.Result, Spy]) -> None:
    found = l4t_jax.evaluate(tiny[0].run_dir, boards=16)
    heldout = tiny[0].heldout["student"]
    assert found["seeds"]["length"] == pytest.approx(heldout.length[:, :16].mean(axis=1).tolist())
    assert found["seeds"]["success"] == pytest.approx(heldout.success[:, :16].mean(axis=1).tolist())


def test_the_last_checkpoint_is_what_the_run_ended_with(tiny: tuple[api.Result, Spy]) -> None:
    result, _ = tiny
    jax.tree.map(np.testing.assert_array_equal, checkpoint.restore_params(result.run_dir, "last"), result.params)


def test_the_best_checkpoint_holds_the_parameters_that_earned_it(tiny: tuple[api.Result, Spy]) -> None:
    best = checkpoint.restore_params(tiny[0].run_dir, "best")
    for leaf, first, second in zip(*(jax.tree.leaves(tree) for tree in (best, EARNED[0], EARNED[1])), strict=True):
        np.testing.assert_array_equal(leaf[0], second[0])
        np.testing.assert_array_equal(leaf[1], first[1])
    assert any(np.any(a[0] != b[0]) for a, b in zip(jax.tree.leaves(best), jax.tree.leaves(EARNED[0]), strict=True))


def test_the_saved_student_acts_as_it_was_evaluated(tiny: tuple[api.Result, Spy]) -> None:
    """Greedy play through `load_student` on the first held-out boards takes as many steps as the evaluation says."""
    from l4t_jax.tasks import observe
    from l4t_jax.trainer import Trainer
    from l4t_jax.types import as_observation

    result, _ = tiny
    student = l4t_jax.load_student(result.run_dir, seed=1)
    trainer = Trainer.create(result.config)
    board = jax.tree.map(lambda leaf: leaf[3], jax.jit(lambda: trainer.boards(32, "test"))())
    move = jax.jit(trainer.env.transition)
    know = jax.jit(lambda world: as_observation(observe(world)))
    length, reward, done = 0, 0.0, False
    while not done:
        board, gained, terminated, truncated = move(board, length, student.act(know(board)))
        length, reward, done = length + 1, reward + float(gained), bool(terminated | truncated)
    heldout = result.heldout["student, greedy"]
    assert length == heldout.length[1, 3]
    assert reward == pytest.approx(float(heldout.reward[1, 3]))


def test_a_loaded_student_draws_with_a_key_and_checks_the_shape(tiny: tuple[api.Result, Spy]) -> None:
    student = l4t_jax.load_student(tiny[0].run_dir)
    observation = np.full((student.task.width, student.task.height, 4), 4, np.uint8)
    observation[..., :3] = (1, 0, 0)
    observation[2, 2, 3] = 0
    drawn = {student.act(observation, jax.random.key(i)) for i in range(40)}
    assert len(drawn) > 1 and drawn <= set(range(NUM_ACTIONS))
    with pytest.raises(ValueError, match="has shape"):
        student.act(observation[:-1])
    with pytest.raises(ConfigError, match="there is no 2"):
        l4t_jax.load_student(tiny[0].run_dir, seed=2)


def test_ppo_runs_without_a_teacher(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, algo="ppo", run_dir=str(tmp_path / "ppo"))
    result = l4t_jax.train(config)
    assert result.summary["teacher"] == "none"
    assert result.summary["heldout"]["teacher"] is None
    assert all(line["train"]["distill_weight"] == 0 for line in lines(result.run_dir))
    names = {path.name for path in result.run_dir.iterdir()}
    assert not names & {"teacher.gif", "teacher.json"} and "student.gif" in names


def test_ctrl_c_stops_after_a_block_and_leaves_the_state(tmp_path: Path) -> None:
    class Impatient(Progress):
        def evaluated(self, record: dict[str, Any]) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"after 256 of 640 steps; .* are saved in"):
        l4t_jax.train(TINY, run_dir=str(tmp_path / "run"), progress=Impatient())
    assert signal.getsignal(signal.SIGINT) == before
    assert not (tmp_path / "run" / "summary.json").exists()
    assert len(lines(tmp_path / "run")) == 1
    checkpoint.restore_params(tmp_path / "run")


# Refusals


class Compiled:
    """Stands for compiled programs that need 1 MB, and 10 kB a world."""

    def __init__(self, worlds: int) -> None:
        self.worlds = worlds

    def memory_analysis(self) -> Any:
        parts = dict(argument_size_in_bytes=self.worlds * 4_000, output_size_in_bytes=self.worlds * 4_000)
        parts |= dict(temp_size_in_bytes=1_000_000 + self.worlds * 6_000, alias_size_in_bytes=self.worlds * 4_000)
        return types.SimpleNamespace(**parts)


@pytest.mark.parametrize("asked", [512, 10**12])
def test_too_many_worlds_for_the_memory_names_a_number_that_fits(
    asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []

    def compile_all(made: dict[str, Any]) -> dict[str, Compiled]:
        worlds = made["block"][1][0].envs.t.shape[1]
        compiled.append(worlds)
        return {"block": Compiled(worlds)}

    monkeypatch.setattr(programs, "compile_all", compile_all)
    monkeypatch.setattr(programs, "free_bytes", lambda: 3_000_000)
    with pytest.raises(ConfigError) as error:
        l4t_jax.train(TINY, num_envs=asked, devices=1, run_dir=str(tmp_path / "run"))
    # 0.9 * 3 MB leave 1.7 MB for worlds: 170, so 128.
    assert re.fullmatch(
        rf"--num-envs {asked} needs at least .* of memory and 3 MB are free; --num-envs 128 fits", str(error.value)
    )
    assert not (tmp_path / "run").exists()
    assert max(compiled) <= 512  # the absurd number was never compiled


def test_no_number_of_worlds_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "compile_all", lambda made: {"block": Compiled(made["block"][1][0].envs.t.shape[1])})
    monkeypatch.setattr(programs, "free_bytes", lambda: 900_000)
    with pytest.raises(ConfigError, match="even with few worlds"):
        l4t_jax.train(TINY, run_dir=str(tmp_path / "run"))


def test_the_memory_of_a_program_is_what_goes_in_and_out_and_between() -> None:
    number = 1 << 18

    def scan(x: jax.Array) -> jax.Array:
        return jnp.sort(x) * 2  # cannot be done in place of a donated x

    shape = jax.ShapeDtypeStruct((number,), jnp.float32)
    plain = programs.compile_all({"plain": (jax.jit(scan), (shape,))})["plain"]
    donated = programs.compile_all({"donated": (jax.jit(scan, donate_argnums=0), (shape,))})["donated"]
    assert 2 * 4 * number <= programs.needed_bytes(plain) < 6 * 4 * number
    assert programs.needed_bytes(donated) <= programs.needed_bytes(plain) - 4 * number


def test_memory_that_runs_out_while_running_ends_in_a_sentence() -> None:
    config = dataclasses.replace(TINY, num_envs=64)
    with pytest.raises(ConfigError, match="ran out with --num-envs 64; try --num-envs 16"), loop.memory_errors(config):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
    with pytest.raises(jax.errors.JaxRuntimeError), loop.memory_errors(config):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_the_free_memory_of_this_machine_can_be_told() -> None:
    free = programs.free_bytes()
    assert free is not None and 1e8 < free < 1e14


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        (dict(env="DorKey"), UnknownTask, "DoorKey"),
        (
            dict(teacher="shiped"),
            BackendError,
            "must be shipped, none, transformers:MODEL, openai:MODEL, file:PATH, not",
        ),
        (dict(teacher="file:/nowhere.json"), TeacherFileError, "/nowhere.json cannot be read"),
        (dict(teacher="none"), ConfigError, "needs a teacher"),
        (dict(num_env=3), ConfigError, "did you mean num_envs"),
        (dict(run_dir="/proc/nowhere"), metrics.RunFolderError, "cannot be made"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(
    settings: dict[str, Any], kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as error:
        l4t_jax.train(TINY, **settings)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert isinstance(error.value, api.REFUSALS)
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def test_a_student_for_other_maps_cannot_play(tiny: tuple[api.Result, Spy]) -> None:
    with pytest.raises(ConfigError, match="cannot play ColoredDoorKey"):
        l4t_jax.evaluate(tiny[0].run_dir, env="ColoredDoorKey")


@pytest.mark.parametrize("make", [lambda path: path, lambda path: (path / "config.json").write_text("{}") and path])
def test_a_folder_that_is_no_run_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(api.REFUSALS):
        l4t_jax.evaluate(make(tmp_path))


def test_no_program_is_kept_where_the_home_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
        programs.keep_compiled()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_importing_the_package_is_cheap_and_the_names_are_there() -> None:
    code = (
        "import sys, l4t_jax; heavy = {'torch', 'jax', 'navix', 'numpy', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy; l4t_jax.train; l4t_jax.Config; assert 'torch' not in sys.modules; "
        "import l4t_jax.evaluate; assert callable(l4t_jax.evaluate); "
        "assert all(hasattr(l4t_jax, name) for name in l4t_jax.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        l4t_jax.trian  # noqa: B018


# --- An LLM as the teacher ----------------------------------------------------------------------------------------
# It answers with the plans of the task's own file, so the table has the shape of `tiny`'s and nothing compiles again.

TASK = get_task("DoorKey")
SHIPPED = teacher_file.shipped(TASK)
SAYS = {
    symbolic.Symbolic(tuple(state["sees"]), state["holds"]).sentence: [
        write_plan(tuple(step) for step in plan["skills"])
        for plan in state["plans"]
        for _ in range(round(plan["p"] * 50))
    ]
    for state in SHIPPED["states"]
}


class LLM:
    """Knows its answers, and what it was asked; is out of order so many times at first."""

    scores, constrains = False, False

    def __init__(self, broken: int = 0) -> None:
        self.identity: dict[str, Any] = {"backend": "llm", "model": "llm"}
        self.asked: list[str] = []
        self.broken = broken

    def sample(self, request: Any, numbers: Any) -> Iterator[tuple[int, str]]:
        if self.broken:
            self.broken -= 1
            raise BackendError("the LLM is out of order")
        self.asked.append(request.state.sentence)
        for number in numbers:
            yield number, SAYS[request.state.sentence][number]


class Listener(Spy):
    """Keeps the notices too, and how often the LLM had been asked when training began."""

    def __init__(self, llm: LLM) -> None:
        super().__init__()
        self.llm, self.before = llm, -1
        self.notices: list[str] = []

    def notice(self, words: str) -> None:
        self.notices.append(words)

    def begin(self, total_steps: int, teacher: float | None, run_dir: str) -> None:
        super().begin(total_steps, teacher, run_dir)
        self.before = len(self.llm.asked)


@pytest.fixture
def taught(tmp_path: Path) -> Iterator[Callable[..., tuple[api.Result, Listener]]]:
    """Trains under an `LLM`."""

    def train(llm: LLM, **settings: Any) -> tuple[api.Result, Listener]:
        register_backend("llm", lambda name, task, options: llm)
        spy = Listener(llm)
        more = dict(cache=str(tmp_path / "cache"), run_dir=str(tmp_path / "run")) | settings
        return l4t_jax.train(TINY, progress=spy, teacher="llm:x", samples=50, **more), spy

    yield train
    backends._OPENERS.pop("llm", None)


def unguided(result: api.Result) -> list[float]:
    return [max(record["train"]["unguided"]) for record in result.records]


def test_a_table_with_a_hole_is_not_taken_for_complete(
    taught: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = grammar.situations
    monkeypatch.setattr(asking, "situations", lambda task, states=None: listed(task, states)[1:])
    with pytest.raises(BackendError, match="was not asked for Agent sees <nothing>, holds <nothing>"):
        taught(LLM())
    assert not (tmp_path / "run").exists()


def test_states_of_a_task_too_rich_to_list_are_asked_for_once_they_were_met(
    taught: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "MOST_STATES", 4)
    monkeypatch.setattr(live, "MOST_PLANS", 6)  # the shape of `tiny`'s table
    monkeypatch.setattr(live, "MOST_STEPS", 4)
    llm = LLM(broken=1)
    result, spy = taught(llm, distill_fall=1.0, distill_off=1.0)
    assert spy.before == 0 and spy.began[0][1] is None
    # Nothing is known in the first block, and the first asking fails: that costs the second its guidance, no more.
    assert unguided(result)[:2] == [1, 1] and unguided(result)[2] < 0.5
    assert any("no guidance yet where Agent sees <nothing>, holds <nothing>. the LLM" in one for one in spy.notices)
    content = teacher_file.load(result.run_dir / "teacher.json")
    assert {symbolic.Symbolic(tuple(s["sees"]), s["holds"]).sentence for s in content["states"]} == set(llm.asked)
    assert len(llm.asked) == len(set(llm.asked)) >= 2
    assert result.summary["teacher"] == "llm:x (asked while training)"
    assert result.summary["heldout"]["teacher"]["success"] > 0.5
    assert all(set(record["train"]) == set(result.records[0]["train"]) for record in result.records)


def test_a_server_is_asked_for_all_states_before_training_and_its_key_is_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says the key in every answer."""
    key = "sk-test-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    seen: list[str] = []
    training: list[bool] = []

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(self.headers["Authorization"])
            training.append((tmp_path / "run").exists())
            plan = SAYS[body["messages"][-1]["content"]][body["seed"]]
            answer = {"choices": [{"message": {"content": f"{plan}\nYour key is {seen[-1]}."}}], "key": seen[-1]}
            raw = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        settings = dict(
            teacher="openai:small", base_url=f"http://127.0.0.1:{server.server_address[1]}/v1", samples=50,
            cache=tmp_path / "cache", run_dir=tmp_path / "run",
        )  # fmt: skip
        tiny = {name: value for name, value in dataclasses.asdict(TINY).items() if value != getattr(Config(), name)}
        words = [f"{options.flag(name)}={value}" for name, value in (tiny | settings).items()]
        assert run.main([*words, "--json"]) == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(seen) == 6 * 50 and set(seen) == {f"Bearer {key}"} and not any(training)
    out, err = capfd.readouterr()
    assert json.loads(out)["teacher"] == "openai:small (llm)"
    assert key not in out + err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.json", "summary.json", "teacher.json"} <= {path.name for path in files}
    assert all(key.encode() not in path.read_bytes() for path in files)
    assert "Bearer [key]" in "".join(path.read_text() for path in (tmp_path / "cache").rglob("0*.json"))
    assert "[6/6] Agent sees" in err
    content = teacher_file.load(tmp_path / "run" / "teacher.json")
    assert (content["made"], content["source"]["samples"]) == ("llm", 50)
    plans = [[(plan["p"], plan["skills"]) for plan in state["plans"]] for state in content["states"]]
    assert sorted(plans) == sorted([(p["p"], p["skills"]) for p in s["plans"]] for s in SHIPPED["states"])
    assert lines(tmp_path / "run")[0]["train"]["unguided"] == [0, 0]
