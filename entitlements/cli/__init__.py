"""The command line: `entitlements init | demo | check | explain | catalog …`, also as `python -m entitlements`.

Every command takes --json and then prints exactly one JSON document on stdout, an error included:
{"error": {"kind", "type", "message", "exit", "problems"}}. Exit codes: 0 allowed or fine, 1 denied or
problems found, 2 misuse, 3 storage.
"""

from __future__ import annotations

from .program import main

__all__ = ["main"]
