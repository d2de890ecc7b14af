"""The files of a run folder, also of a run that was killed while it wrote."""

from pathlib import Path

import pytest

from l4t_jax import errors
from l4t_jax.reporting import run_folder


def test_a_line_that_a_killed_run_had_not_finished_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / run_folder.METRICS
    file.write_text('{"steps": 1}\n{"steps": "a\u2028b"}\n{"ste', encoding="utf-8")
    assert run_folder.read_records(tmp_path) == [{"steps": 1}, {"steps": "a\u2028b"}]
    file.write_text('{"steps": 1}\n{"steps": 2}')  # without its end, but whole
    assert run_folder.read_records(tmp_path) == [{"steps": 1}, {"steps": 2}]
    file.write_text('{"steps": 1}\n{"ste\n{"steps": 3}\n')
    with pytest.raises(errors.RunFolderError, match=r"line 2 of .*metrics.jsonl is not JSON"):
        run_folder.read_records(tmp_path)
