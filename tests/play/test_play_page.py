"""`python -m l4t_jax.play`: one page with everything in it."""

import base64
import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import play_parity
import pytest
from small_runs import saved_run

from l4t_jax.abstraction import symbolic
from l4t_jax.envs import get_task
from l4t_jax.play import play, webpage
from l4t_jax.play.__main__ import main
from l4t_jax.play.game import as_data, open_game
from l4t_jax.reporting.pictures import plan_words
from l4t_jax.teacher import file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("player") / "run"
    saved_run(folder, "ego", env="DoorKey-5x5", hidden=16)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    path, size = play(run, levels=3)
    assert path == run / "play.html" and path.stat().st_size == size < 500_000
    return path.read_text(encoding="utf-8")


def games_of(page: str) -> list[dict[str, Any]]:
    packed = re.search(r'id="games">([^<]*)<', page)
    assert packed is not None
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def test_the_page_asks_nothing_of_the_network(page: str) -> None:
    assert "default-src 'none'" in page, "the browser itself forbids requests"
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|sendBeacon|import)\s*\(", page)
    hosts = set(re.findall(r"https?://([^/\s\"'<]*)", page))
    assert hosts <= {"openxla.org"}, "a comment names the specification"


def test_the_page_has_what_the_package_says(page: str) -> None:
    (game,) = games_of(page)
    task = get_task("DoorKey-5x5")
    assert (game["name"], game["width"], game["height"], game["max_steps"]) == ("DoorKey-5x5", 5, 5, 250)
    table = file.to_table(task, file.shipped(task))
    assert len(game["sentences"]) == symbolic.num_states(task)
    assert game["sentences"]["0"] == "Agent sees <nothing>, holds <nothing>."
    first = max(range(len(table.plans[0])), key=lambda i: table.probability[0][i])
    assert game["plans"][0][0][1] == plan_words(task, np.asarray(table.plans[0][first]))
    assert game["plans"][-1] == [], "states without plans"
    assert [name for name in game["weights"] if "Dense_3" in name] == [], "the page has no use for values"
    assert len(base64.b64decode(game["levels"]["parts"]["level.cells"])) == 3 * 25


PLAYED = """
const games = JSON.parse(require("fs").readFileSync(0, "utf8")), found = {};
let seed = 1;
const words = number => Uint32Array.from({length: number}, () => seed = Math.imul(seed, 1664525) + 1013904223 >>> 0);
for (const data of games) {
  const game = new Game(data);
  found[data.name] = Array.from({length: 10}, (_, level) => {
    const episode = new Episode(game, "student", game.level(level));
    while (!episode.over) episode.step(words(1), false, words(2));
    return episode.success;
  });
}
console.log(JSON.stringify(found));
"""


def test_the_students_of_the_demo_page_succeed() -> None:
    """With today's interpreter: where this fails, the demo must be made again, as docs/play.md says."""
    node = play_parity.node_program()
    if node is None:
        pytest.skip("there is no node on this machine")
    demo = Path(__file__).parents[2] / "docs" / "demo.html"
    assert demo.stat().st_size < 2_000_000
    games = games_of(demo.read_text(encoding="utf-8"))
    assert len(games) >= 3
    command = [node, "-e", play_parity.script() + PLAYED]
    done = subprocess.run(command, input=json.dumps(games), text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(sum(successes) >= 8 for successes in found.values()), found


def test_parameters_may_be_rounded(run: Path, page: str) -> None:
    """The page's student is then the rounded one: `open_game` gives it to whoever compares."""
    whole, half = (as_data(open_game(run, precision=precision), 1) for precision in ("float32", "float16"))
    name = "weights.params.Dense_0.kernel"
    exact = np.frombuffer(base64.b64decode(whole["weights"][name]["data"]), np.float32)
    rounded = np.frombuffer(base64.b64decode(half["weights"][name]["data"]), np.float16)
    np.testing.assert_array_equal(rounded, exact.astype(np.float16))
    given = np.asarray(open_game(run, precision="float16").student.params["params"]["Dense_0"]["kernel"])
    np.testing.assert_array_equal(given.reshape(-1), rounded.astype(np.float32))
    assert "rounded to 16 bits" in webpage.text([half]) and "rounded to 16 bits" not in page


def test_several_runs_make_one_page(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "both.html"
    assert main([str(run), str(run), "--out", str(out), "--levels", "1", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == dict(file=str(out), bytes=out.stat().st_size)
    assert [game["name"] for game in games_of(out.read_text())] == ["DoorKey-5x5", "DoorKey-5x5"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no folder nowhere"),
        ([], "RUNS is missing"),
        (["RUN", "--levels", "0"], "--levels must be at least 1"),
        (["RUN", "--seed", "7"], "there is no 7"),
        (["RUN", "--weights", "float8"], "--weights cannot be 'float8'"),
        (["RUN", "--out", "/nowhere/page.html"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run) if word == "RUN" else word for word in words]) == 2
    told = capsys.readouterr().err
    assert said in told and told.startswith("error: ") and told.count("\n") == 1
