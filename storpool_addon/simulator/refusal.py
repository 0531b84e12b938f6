"""The one exception of the simulated cluster: an API error as it goes over the wire."""

from __future__ import annotations


class Refused(Exception):
    """An API call is refused.

    name, descr, transient: the members of `error` in the answer. status: the HTTP status, None for the
    one that the switch `error_status` names.
    """

    def __init__(self, name: str, descr: str, *, transient: bool = False, status: int | None = None) -> None:
        super().__init__(f"{name}: {descr}")
        self.name = name
        self.descr = descr
        self.transient = transient
        self.status = status


def invalid(descr: str) -> Refused:
    """A bad argument."""
    return Refused("invalidParam", descr)


def missing(kind: str, name: object) -> Refused:
    """An object that is not there."""
    return Refused("objectDoesNotExist", f"{kind} '{name}' does not exist")


def exists(name: str) -> Refused:
    """A name that is taken: volumes and snapshots share one name space."""
    return Refused("objectExists", f"An object with the name '{name}' already exists")


def busy(descr: str) -> Refused:
    """An object that is in use."""
    return Refused("busy", descr)
