"""Works that are done at the same time."""

import threading
from typing import Callable, List


def together(works: "List[Callable[[], None]]") -> None:
    """Run them all at the same time; the first failure is everybody's."""
    failures = []  # type: List[BaseException]

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.05)
        if failures:
            break
    if failures:
        raise failures[0]
