"""Where a run keeps its logs: the storage at an address, and what has to be there around it."""

from entitlements.storage.opening import open_storage


def storage_at(address, *, write_timeout):
    """Return the storage of a run."""
    return open_storage(address, write_timeout=write_timeout)
