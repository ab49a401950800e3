"""A host with a transaction of its own, in which a call is done and which it then commits or not."""

import sqlite3
from contextlib import contextmanager

import psycopg


class HostFailed(Exception):
    """The host's own connection failed; `at_commit` says whether it may have committed all the same."""

    def __init__(self, error, *, at_commit):
        super().__init__(f"{type(error).__name__}: {error}")
        self.at_commit = at_commit


class Transaction:
    """An open transaction on a connection of the host's."""

    def __init__(self, connection):
        self.connection = connection

    def joined(self, ent):
        return ent.joined(self.connection)

    def end(self, *, commits):
        """Commit or roll back."""
        try:
            self.connection.execute("COMMIT" if commits else "ROLLBACK")
        except (sqlite3.Error, psycopg.Error) as error:
            raise HostFailed(error, at_commit=commits) from error


@contextmanager
def transaction_at(address, patience):
    """Open a connection of the host's to where the logs are, and begin."""
    address, _, schema = address.partition("#")
    try:
        connection = opened(address, patience)
    except (sqlite3.Error, psycopg.Error) as error:
        raise HostFailed(error, at_commit=False) from error
    try:
        connection.execute("BEGIN" if schema else "BEGIN IMMEDIATE")
        yield Transaction(connection)
    except (sqlite3.Error, psycopg.Error) as error:
        raise HostFailed(error, at_commit=False) from error
    finally:
        connection.close()


def opened(address, patience):
    if address.startswith("sqlite:///"):
        connection = sqlite3.connect(address.removeprefix("sqlite:///"), isolation_level=None, timeout=patience)
        connection.execute("PRAGMA synchronous = FULL")
        return connection
    return psycopg.connect(address, autocommit=True, application_name="entitlements", connect_timeout=10)
