"""The history: what each call was and what came of it, one JSON line before it and one after it.

A line is written with one system call, so that a process killed at any moment leaves whole lines;
a call without a second line is one of which nothing is known.
"""

import json
import os
import threading
import time


class History:
    """The file of one process; any thread may write to it."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.lock = threading.Lock()

    def write(self, **line):
        """Write a line with the monotonic time, which all processes of a machine share."""
        with self.lock:
            told = json.dumps({"mono": time.monotonic_ns(), **line}, separators=(",", ":")) + "\n"
            os.write(self.file, told.encode())


def lines_of(path):
    """Yield the lines of a history; the last may be torn."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def calls_of(paths):
    """Return every call of the histories: its line, and under `end` the line of what came of it, or None."""
    calls = {}
    for path in paths:
        for line in lines_of(path):
            if line["type"] == "invoke":
                calls[line["id"]] = {**line, "end": None}
            elif line["type"] == "end":
                calls[line["id"]]["end"] = line
    return list(calls.values())


def events_of(path):
    """Return what the nemesis did, in order."""
    return list(lines_of(path)) if path.exists() else []
