"""The page in a headless Chromium: its buttons, keys and editor, in phone and desktop widths, without any request."""

import json
import subprocess
from pathlib import Path
from typing import Any

import play_parity
import pytest
from small_runs import saved_run

from l4t_jax.play import play

pytestmark = pytest.mark.slow

# A window of Chromium's is at least 500 pixels wide, a frame in it is not.
FRAME = """<!DOCTYPE html><body>
<script>onmessage = event => { document.body.textContent = event.data; };</script>
<iframe src="tour.html#DoorKey-5x5/1" width="WIDTH" height="844" style="border: 0"></iframe>"""
# What a person does, and what the page then says.
TOUR = """
addEventListener("load", async () => {
  const pause = ms => new Promise(done => setTimeout(done, ms)), found = {};
  const failed = [];
  addEventListener("error", event => failed.push(event.message));
  while (!window.page) await pause(20);
  const press = (key, on = document.body) =>
    on.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  const text = selector => document.querySelector(selector).textContent;
  const outcome = who => text(`[data-who=${who}] .outcome`);
  found.start = [outcome("student"), outcome("teacher"), text("#which"), text("#mission")];
  found.wide = document.documentElement.scrollWidth - innerWidth;
  found.width = innerWidth;
  const frames = selector => [...document.querySelectorAll(selector)].map(one => one.getBoundingClientRect());
  const shown = frames("#tasks button, .controls button, canvas");
  const above = Math.min(...shown.map(one => one.top)), below = Math.max(...shown.map(one => one.bottom));
  found.sight = [shown.length, above, below, innerHeight];
  found.order = frames("table")[0].top - frames(".controls")[0].bottom;
  press("s");
  press("s");
  found.stepped = outcome("student");
  press("r");
  found.restarted = outcome("student");
  document.querySelector("#speed").value = 30;
  press(" ");
  found.playing = text("#play");
  for (let i = 0; i < 400 && window.page.timer !== null; i++) await pause(50);
  found.ended = [outcome("teacher"), text("#play"), text("#live")];
  press("e");
  const [x, y, facing] = window.page.level["level.agent"];
  const canvas = document.querySelector("canvas"), frame = canvas.getBoundingClientRect(), cell = frame.width / 5;
  const pointer = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type,
    {clientX: frame.left + (x + 0.5) * cell, clientY: frame.top + (y + 0.5) * cell, pointerId: 1, bubbles: true}));
  canvas.setPointerCapture = () => {};
  const choose = name => [...document.querySelectorAll("#editor label")].find(one => one.textContent === name).click();
  choose("agent");
  pointer("pointerdown", 3, 3); pointer("pointerup", 3, 3);
  pointer("pointerdown", 3, 3); pointer("pointerup", 3, 3);
  choose("lava");
  pointer("pointerdown", 1, 1); pointer("pointermove", 2, 1); pointer("pointerup", 2, 1);
  const {"level.cells": cells, "level.agent": agent} = window.page.level;
  found.edited = {lava: [cells[6], cells[11]], agent: Array.from(agent), turned: (facing + 1) % 4};
  found.own = text("#which");
  window.page.panels[0].cursor = 3 * 5 + 3;
  choose("blue"); choose("key");
  press("ArrowUp", canvas); press("Enter", canvas);
  found.keyboard = [cells[3 * 5 + 2], text("#live")];
  press("s");
  found.closed = document.querySelector("#editor").hidden;
  location.hash = "#DoorKey-5x5/3";
  await pause(50);
  found.address = text("#which");
  found.failed = failed;
  found.requests = performance.getEntriesByType("resource").length;
  parent.postMessage(`BEGIN${JSON.stringify(found)}END`, "*");
});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = tmp_path_factory.mktemp("browser") / "run"
    saved_run(run, "ego", env="DoorKey-5x5", hidden=16)
    path, _ = play(run, run, levels=3)  # twice, for the buttons that choose a task
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [390, 1280])
def test_buttons_keys_and_editor(page: str, width: int, tmp_path: Path) -> None:
    program = play_parity.chromium_program()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    tour = page.replace("</body>", f"<script>{TOUR}</script></body>")
    (tmp_path / "tour.html").write_text(tour, encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += ["--virtual-time-budget=60000", "--dump-dom", (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, text=True, capture_output=True, timeout=300)
    assert "BEGIN" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.partition("BEGIN")[2].partition("END")[0])
    steps = "step 0 of 250"
    assert said["start"][:2] == [steps, steps] and said["start"][2].endswith(" of 3 held-out levels.")
    assert said["start"][3] == "use the key to open the door and then get to the goal"
    assert said["width"] == width and said["wide"] <= 0, "nothing is wider than the page"
    number, above, below, height = said["sight"]
    assert number == 9 and 0 <= above < below <= height == 844, "buttons and levels are in sight without scrolling"
    assert width > 640 or said["order"] > 0, "on a phone what is said of the players comes after the controls"
    assert (said["stepped"], said["restarted"], said["playing"]) == ("step 2 of 250", steps, "Pause")
    assert said["ended"][0].startswith("succeeded after ") and said["ended"][1] == "Play" and said["ended"][2]
    lava, agent = said["edited"]["lava"], said["edited"]["agent"]
    assert lava == [9, 9] and agent == [3, 3, said["edited"]["turned"]]
    assert said["own"] == "A level of your own."
    assert said["keyboard"] == [5 | 2 << 4, "column 3, row 2: blue key"]
    assert said["closed"] and said["address"].startswith("Level 3 of 3")
    assert said["failed"] == [] and said["requests"] == 0
