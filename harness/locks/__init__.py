"""Locks of files, and leases, by which processes of several machines share a folder."""

from harness.locks.locks import has_locks, lock, shared_lock

__all__ = ["has_locks", "lock", "shared_lock"]
