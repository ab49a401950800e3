"""The kit as a whole: what it offers, what it costs, and that all of it is documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from entitlements import testing
from entitlements.testing import strategies

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "testing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_the_kit_is_there_and_documented(name: str) -> None:
    assert getattr(testing, name).__doc__
    assert f"| `{name}" in PAGE


@pytest.mark.parametrize("name", strategies.__all__)
def test_every_strategy_is_documented(name: str) -> None:
    assert f"`{name}(" in PAGE or name == "AT"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LedgerMachines'"):
        testing.LedgerMachines  # noqa: B018
    assert set(testing.__all__) <= set(dir(testing))


def test_a_clock_needs_neither_hypothesis_nor_pytest() -> None:
    program = "import sys; from entitlements.testing import FrozenClock, assert_sound; "
    program += "assert not {'hypothesis', 'pytest'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
