"""Locks and threads after `fork`: only the forking thread goes on in the child, so a lock that
another thread has locked is never unlocked there.

Why not multiprocessing's spawn alone: gunicorn, Celery and uWSGI fork after they have imported the
program.
"""

import os
from typing import Protocol
from weakref import WeakSet


class _Forked(Protocol):
    def after_fork(self) -> None: ...


_LIVING: "WeakSet[_Forked]" = WeakSet()


def reset_in_child(living: _Forked) -> None:
    """Call its `after_fork` in each child, before any other thread runs there; as long as it
    lives.
    """
    _LIVING.add(living)


def _in_child() -> None:
    for living in list(_LIVING):
        living.after_fork()


os.register_at_fork(after_in_child=_in_child)
