"""The PostgreSQL storage: the contract, and what only a server can suffer."""

from collections.abc import Iterator
from itertools import count

import pytest

from entitlements.storage.base import Storage
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.testing.blocking import Blocking
from entitlements.testing.contract import StorageContract

NAMES = count()


class TestServer(StorageContract):
    @pytest.fixture
    def storage(self, postgres_url: str) -> Iterator[PostgresStorage]:
        storage = PostgresStorage(postgres_url, schema=f"contract_{next(NAMES)}")
        yield storage
        storage.close()

    @pytest.fixture(autouse=True)
    def _address(self, postgres_url: str) -> None:
        self.address = postgres_url

    def reopen(self, storage: Storage) -> PostgresStorage:
        assert isinstance(storage, PostgresStorage)
        return PostgresStorage(self.address, schema=storage.schema)


class TestAwaited(TestServer):
    @pytest.fixture
    def storage(self, postgres_url: str) -> Iterator[Blocking]:
        storage = Blocking(AsyncPostgresStorage(postgres_url, schema=f"contract_{next(NAMES)}"))
        yield storage
        storage.close()
        storage.end()

    def reopen(self, storage: Blocking) -> PostgresStorage:
        return PostgresStorage(self.address, schema=storage.storage.schema)
