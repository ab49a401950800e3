"""Types: what both type checkers say about `typing/uses.py`, line by line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USES = ROOT / "tests" / "typing" / "uses.py"
CHECKERS = {
    "mypy": ["mypy", "--strict", "--config-file=", "--no-incremental", "--cache-dir=/dev/null"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_right_uses_pass_and_wrong_ones_are_refused(checker: str) -> None:
    lines = USES.read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    command = [sys.executable, "-m", *CHECKERS[checker], str(USES)]
    environment = {**os.environ, "PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1"}  # and fetch nothing
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    found = {int(line) for line in re.findall(r"uses\.py:(\d+):.*error", done.stdout)}
    assert wrong
    assert found == wrong, done.stdout + done.stderr
