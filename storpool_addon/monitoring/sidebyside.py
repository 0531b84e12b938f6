"""Work for several clusters at once: one that does not answer delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Callable, NamedTuple

from storpool_addon.errors import AddonError


class Task(NamedTuple):
    """Work for one cluster, which calls that cluster's adapter alone. trouble: is told why it failed."""

    work: Callable[[], None]
    trouble: Callable[[str], None]


def carry_out(tasks: Iterable[Task], within_s: float | None = None) -> list[bool]:
    """All at once, each in a thread; which of them have ended.

    within_s: return then at the latest. Nothing can end a call that waits: what is still under way goes on,
    ends with the process, and so must be something that may be cut off anywhere.
    """
    threads = [threading.Thread(target=_carry_out, args=(each,), daemon=True) for each in tasks]
    until = None if within_s is None else time.monotonic() + within_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(None if until is None else max(0.0, until - time.monotonic()))
    return [not each.is_alive() for each in threads]


def _carry_out(task: Task) -> None:
    try:
        task.work()
    except AddonError as error:
        task.trouble(str(error))
    except Exception as error:
        # Nobody else would hear of it in a thread.
        task.trouble(f"a bug of the driver ({type(error).__name__}: {error}); please report it")
