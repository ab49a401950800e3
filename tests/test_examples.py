"""Every example that brings tests of its own: run as a reader would, from its own directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
TESTED = sorted({path.parent for path in EXAMPLES.glob("*/test_*.py")})


def test_the_examples_of_the_how_to_pages_are_here() -> None:
    assert {"test_your_app", "write_a_storage"} <= {directory.name for directory in TESTED}


@pytest.mark.parametrize("directory", TESTED, ids=lambda directory: directory.name)
def test_an_example_passes_its_own_tests(directory: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "-W", "error"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert " passed" in run.stdout
    assert "skipped" not in run.stdout
