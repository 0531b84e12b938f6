"""The caller's protocol: argv, standard input and output, exit code, SIGTERM; nothing below knows of it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple, NoReturn, TextIO

from storpool_addon.driver import Driver, home_of
from storpool_addon.errors import BUG, AddonError, Terminated, UsageError
from storpool_addon.log import Log
from storpool_addon.opennebula.protocol import Action, parse_arguments, protocol_of
from storpool_addon.tally import Tally, action_of

# A document of oned is some hundred kB at the most; this is a guard, not a limit that anyone meets.
MAX_STDIN = 64 << 20
# An action ends before its few cycles of garbage matter; looking for them while modules are imported takes
# a fortieth of its time. An import that runs for hours still gets its collections.
GC_THRESHOLD = 100_000
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Process(NamedTuple):
    """The process as the caller sees it."""

    argv: list[str]
    environ: Mapping[str, str]
    stdin: BinaryIO
    stdout: TextIO
    stderr: TextIO


def run(action: Action) -> NoReturn:
    """Be the process that runs `action`: the whole body of an entry script."""
    os.umask(0o077)
    gc.set_threshold(GC_THRESHOLD)
    process = Process(sys.argv, os.environ, sys.stdin.buffer, sys.stdout, sys.stderr)
    tally = Tally()
    status = main(action, process, tally)
    sys.stdout.flush()
    sys.stderr.flush()
    # The answer is given; a signal must not make a failure of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    tally.write(home_of(os.environ), action_of(sys.argv[0]), status)
    # Everything is closed by now; skipping the interpreter's own teardown saves milliseconds on every action.
    os._exit(status)


def main(action: Action, process: Process, tally: Tally | None = None) -> int:
    """Run `action` and give the exit code: 0, 1 expected failure, 2 usage, 3 bug, 128 + signal.

    tally: where its calls are counted.
    """
    log = Log.for_script(process.argv[0], process.environ)
    try:
        answer = _act(action, process, log, tally)
    except AddonError as error:
        return _fail(process, log, " ".join(str(error).split()), error.exit_code)
    except Terminated as error:
        return _fail(
            process, log, f"{_name(process)} was {error}; what it had begun was undone", error.exit_code
        )
    except Exception as error:
        log.bug(process.argv)
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _fail(
            process, log, f"{_name(process)} met a bug of the driver ({what}); please report it", BUG
        )
    if answer is not None:
        process.stdout.write(answer + "\n")
    return 0


def _act(action: Action, process: Process, log: Log, tally: Tally | None) -> str | None:
    for number in _SIGNALS:
        signal.signal(number, _terminate)
    script, declared = _name(process), protocol_of(action)
    parameters = parse_arguments(script, declared, process.argv[1:])
    if declared.stdin:
        name, parse = declared.stdin
        document = process.stdin.read(MAX_STDIN + 1)
        if len(document) > MAX_STDIN:
            raise UsageError(f"{script}: standard input is larger than {MAX_STDIN >> 20} MiB")
        parameters[name] = parse(document)
    with Driver(process.environ, log, tally) as driver:
        if declared.into is None:
            return action(driver, **parameters)
        return action(driver, declared.into(**parameters))


def _terminate(number: int, _frame: object) -> NoReturn:
    # The first signal starts the undo; later ones must not interrupt it.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Terminated(number)


def _name(process: Process) -> str:
    return os.path.basename(process.argv[0])


def _fail(process: Process, log: Log, line: str, status: int) -> int:
    log(f"failed with exit code {status}: {line}")
    process.stderr.write(line + "\n")
    return status
