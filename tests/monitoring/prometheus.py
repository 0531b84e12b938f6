"""The real Prometheus and its promtool, as tests use them, and what is in the examples for it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from storpool_addon.lab.programs import SYSTEM_PATH

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ALERTS = EXAMPLES / "prometheus/alerts.yml"
_NAME = re.compile(r"\bstorpool_[a-z_]+")


def program(name: str) -> str:
    """Its path; skips the test without it."""
    path = shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def promtool(*words: str, given: str = "") -> str:
    """What promtool prints, when all is well."""
    done = subprocess.run(
        [program("promtool"), *words], input=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


def free_port() -> int:
    """One that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def names_in(expression: str) -> set[str]:
    """Metrics of ours in an expression; storpool_addon_… of a file name is none."""
    return set(_NAME.findall(expression))


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API; AssertionError for an error of its own."""
        try:
            with urllib.request.urlopen(f"{self._url}/{path}?{urlencode(parameters)}", timeout=10) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        assert found["status"] == "success" and not found.get("warnings"), found
        return found["data"]

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Values by their labels, without instance and job."""
        found = self.get("query", query=expression)
        assert found["resultType"] in ("vector", "scalar"), found
        if found["resultType"] == "scalar":
            return {(): float(found["result"][1])}
        return {_labels(each["metric"]): float(each["value"][1]) for each in found["result"]}

    def wait(self, expression: str, value: float, timeout_s: float = 30.0) -> None:
        """Until an expression has this value; the last answer is in the error."""
        end, found = time.monotonic() + timeout_s, {}
        while time.monotonic() < end:
            try:
                found = self.query(expression)
                if list(found.values()) == [value]:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{expression} is {found}, and not {value}")


def _labels(metric: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in metric.items() if k not in ("instance", "job", "__name__")))


@contextmanager
def running(directory: Path, target: int) -> Iterator[Prometheus]:
    """One that scrapes a port of this machine, with the configuration of the examples."""
    config = (EXAMPLES / "prometheus/prometheus.yml").read_text()
    changes = {"30s": "500ms", "127.0.0.1:9776": f"127.0.0.1:{target}", "alerts.yml": str(ALERTS)}
    for old, new in changes.items():
        assert old in config
        config = config.replace(old, new)
    directory.mkdir()
    (directory / "prometheus.yml").write_text(config)
    port = free_port()
    argv = [
        program("prometheus"), "--log.level=error",
        f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (directory / "log").open("w") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
