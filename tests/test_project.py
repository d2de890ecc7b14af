"""The project's own files agree with each other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_ci_runs_the_readmes_test_command_word_for_word() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    (command,) = [block for block in blocks if "-m pytest -n 2\n" in block and "uv venv" in block]
    assert (ROOT / ".ci" / "run").read_text().endswith(command)


def test_the_pins_name_no_host_and_do_not_pull_torch() -> None:
    pins = (ROOT / "requirements.txt").read_text()
    assert "://" not in pins
    assert "--" not in pins
    assert not re.search(r"^(torch|nvidia-|transformers)", pins, flags=re.MULTILINE)
