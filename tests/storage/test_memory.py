"""The memory storage."""

from collections.abc import Iterator

import pytest

from entitlements.storage.memory import MemoryStorage
from entitlements.testing.contract import StorageContract


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[MemoryStorage]:
        storage = MemoryStorage()
        yield storage
        storage.close()
