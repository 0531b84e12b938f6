"""The command `simulate`: a simulated cluster as a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import ExitStack

from storpool_addon.simulator.faults import Fault
from storpool_addon.simulator.simulator import TOKEN, Simulator
from storpool_addon.simulator.switches import Switches


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="port 0 takes a free one and prints it")
    add("--state", required=True, metavar="DIR", help="where the cluster and its data are kept")
    add(
        "--devices",
        choices=("file", "loop"),
        default="file",
        help="what an attached volume is; loop needs root",
    )
    add("--dev-dir", metavar="DIR", help="where device links appear; {client} in it is the client's name")
    add(
        "--client", action="append", default=[], metavar="ID=NAME", help="a host that volumes are attached to"
    )
    add("--template", action="append", default=[], metavar="NAME", help="a template that exists")
    add("--token", default=TOKEN, help="what clients authenticate with")
    add("--faults", metavar="FILE", help="a JSON list of faults")
    add("--switch", action="append", default=[], metavar="NAME=VALUE", help="see docs/simulator.md")
    add("--second", metavar="HOST:PORT", help="a second cluster, location `second` of the first one")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 2 for wrong options."""
    try:
        simulators = _build(args)
    except (ValueError, OSError) as error:
        print(f"simulate: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as running:
        for simulator in simulators:
            running.enter_context(simulator)
            host, port, _ = simulator.endpoint
            print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
        stop.wait()
    return 0


def _build(args: argparse.Namespace) -> list[Simulator]:
    switches = Switches.parse(args.switch)
    first = Simulator(
        args.state,
        dev_dir=args.dev_dir,
        devices=args.devices,
        clients=_clients(args.client),
        templates=args.template,
        switches=switches,
        listen=_address(args.listen),
        token=args.token,
        faults=_faults(args.faults),
    )
    if not args.second:
        return [first]
    second = Simulator(
        os.path.join(args.state, "second"),
        clients=_clients(args.client),
        templates=args.template,
        switches=switches,
        listen=_address(args.second),
        token=args.token,
        cluster_id="r.n",
    )
    first.connect(second, location="second", known_as="first")
    return [first, second]


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"{text}: expected HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _clients(texts: list[str]) -> dict[int, str]:
    clients = {}
    for text in texts:
        number, _, name = text.partition("=")
        if not number.isdecimal() or not name:
            raise ValueError(f"--client {text}: expected ID=NAME")
        clients[int(number)] = name
    return clients


def _faults(path: str | None) -> list[Fault]:
    if not path:
        return []
    with open(path) as source:
        data = json.load(source)
    if not isinstance(data, list):
        raise ValueError(f"{path}: expected a list of faults")
    return [Fault.parse(each) for each in data]


def main(argv: list[str] | None = None) -> int:
    """The simulator alone, without the rest of the command line: python -m storpool_addon.simulator."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))
