"""`exporter` serves metrics for Prometheus: of clusters, datastores, policies, and what the driver did."""

from __future__ import annotations

import os
import threading
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

from storpool_addon.cli.scrape import Leading, Scrape
from storpool_addon.driver import home_of
from storpool_addon.errors import ConfigError, StateError
from storpool_addon.tally import DIRECTORY

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from prometheus_client import CollectorRegistry

    from storpool_addon.driver import Driver

NAME = "exporter"
_MODULE = "python3-prometheus-client (AlmaLinux, from EPEL: python3-prometheus_client)"


def add_arguments(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Declare the subcommand."""
    own = commands.add_parser(NAME, help="serve metrics for Prometheus, at /metrics")
    own.add_argument("--listen", metavar="ADDRESS:PORT", help="in the place of EXPORTER_LISTEN")
    own.add_argument("--once", action="store_true", help="print the metrics, and end")


def run(driver: Driver, arguments: Namespace, out: TextIO) -> None:
    """Carry out the subcommand."""
    leading = Leading(driver)
    registry = _registry(Scrape(driver.config, _spool(driver), driver.log, leading))
    if arguments.once:
        from prometheus_client import generate_latest

        leading.look()
        out.write(generate_latest(registry).decode())
        return
    _serve(arguments.listen or driver.config.exporter_listen, registry)
    threading.Thread(target=leading.watch, daemon=True).start()
    while True:
        time.sleep(3600)


def _registry(scrape: Scrape) -> CollectorRegistry:
    try:
        from prometheus_client import CollectorRegistry
    except ImportError:
        raise ConfigError(
            f"the exporter needs Python's prometheus_client: install {_MODULE}, and run install.py again"
        ) from None
    registry = CollectorRegistry()
    registry.register(scrape)
    return registry


def _serve(where: str, registry: CollectorRegistry) -> None:
    from prometheus_client import start_http_server

    host, port = _address(where)
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise StateError(f"{where} cannot be listened on: {error.strerror or error}") from None


def _address(where: str) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{where}")
        host, port = found.hostname, found.port
    except ValueError:
        host = port = None
    if not host or port is None or found.netloc != where:
        raise ConfigError(f"EXPORTER_LISTEN {where!r} is not ADDRESS:PORT, such as 127.0.0.1:9776")
    return host, port


def _spool(driver: Driver) -> str:
    """Where processes leave their lines, from the moment that it is there."""
    directory = os.path.join(home_of(driver.environ), DIRECTORY)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        driver.log(f"{directory} cannot be made, so actions are not counted: {error.strerror}")
    return directory
