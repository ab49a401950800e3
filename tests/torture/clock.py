"""A clock that all processes of a run share, and that the nemesis moves: the machine's, and an offset in a file."""

import mmap
import os
import struct
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class SharedClock:
    """Returns the present instant; the file holds the offset in microseconds."""

    def __init__(self, path):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if os.fstat(file).st_size < 8:
            os.ftruncate(file, 8)
        self.memory = mmap.mmap(file, 8)
        os.close(file)

    def __call__(self):
        return datetime.now(UTC) + timedelta(microseconds=struct.unpack("<q", self.memory[:8])[0])

    def micros(self):
        """The present instant in microseconds since 1970."""
        return (self() - EPOCH) // MICROSECOND

    def move(self, seconds):
        """Move the clock for everybody, from now on."""
        (offset,) = struct.unpack("<q", self.memory[:8])
        self.memory[:8] = struct.pack("<q", offset + int(seconds * 1_000_000))
