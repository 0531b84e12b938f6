"""What StorPool's documents leave open, each as a named switch with the setting we think most likely."""

from __future__ import annotations

from typing import Any, NamedTuple


class Switches(NamedTuple):
    """Behaviour of the simulated cluster. The comment on each line is its documentation."""

    error_status: int = 200  # HTTP status of an answer that carries an error; a wrong token is always 403
    error_generation: bool = False  # whether an error answer carries "generation"
    transient_errors: str = ""  # comma-separated error names that are flagged transient
    keep_alive: bool = False  # answer HTTP/1.1 and keep the connection, instead of HTTP/1.0 and close
    unknown_fields: str = "reject"  # a body member that we do not know: reject, ignore
    null_values: str = "ignore"  # a null in a body: ignore, reject
    name_limit: str = "separate"  # 199 bytes hold for name and tags each: separate; for the sum: together
    max_volume_size: int = 1 << 50  # bytes; more is insufficientResources
    max_depth: int = 0  # snapshots under a volume; 0 is no limit
    create_global_id: bool = True  # VolumeCreate answers with globalId (releases before 7.1.0 do not)
    empty_name: str = "unnamed"  # VolumeSnapshot with name "": unnamed (only ~id) or auto (VOLUME@ID)
    tags: str = "merge"  # tags of an update: merge (an empty value deletes) or replace
    shrink_error: str = "invalidParam"  # name of the error for a smaller size without shrinkOk
    revert_attached: str = "busy"  # VolumeRevert of an attached volume: busy, allow
    revert_size: bool = True  # VolumeRevert knows revertSize
    revert_keeps_tags: bool = True  # tags survive VolumeRevert
    revert_keeps_limits: bool = True  # iops and bw survive VolumeRevert
    revert_foreign: str = (
        "allow"  # VolumeRevert to a snapshot not of the volume: allow, refuse (invalidParam)
    )
    freeze_attached: str = "busy"  # VolumeFreeze of an attached volume: busy, allow
    delete_attached_error: str = "busy"  # name of the error for deleting an attached snapshot
    deletion_delay_s: float = 1.0  # how long a deleted snapshot lingers under a name with *
    attach_expiry: str = "error"  # answer when attachTimeout passes with a client missing: error, ok
    attach_expiry_keeps: bool = True  # the assignment stays recorded after attachTimeout
    detach_down: str = "ok"  # detach from a client that is down: ok, force (needs force), wait
    detach_unattached: str = "ok"  # detach of a named client that is not attached: ok, error
    bulk_atomic: bool = True  # a failing item of a bulk call leaves nothing of the others
    open_error: str = "busy"  # name of the error "is open at client"; older releases: invalidParam
    rename_link: str = "follow"  # device link of an attached volume that is renamed: follow, stay
    link_delay_s: float = 0.0  # how long after the answer the device link of an attach appears
    attachment_tags: bool = False  # AttachmentsList carries the object's tags
    combined_list_ok: bool = False  # VolumesAndSnapshotsList carries "ok"
    erasure_coding: bool = False  # replication in answers is that of an erasure-coded template
    multicluster_names: str = "local"  # MultiCluster/ finds names of its own cluster: local, of all: all
    multicluster_create: str = "owner"  # a clone of what another cluster has: made there: owner, refuse
    multicluster_detach: str = (
        "here"  # detach "all" under MultiCluster/: of the asked cluster's clients: here, everywhere
    )
    cluster_status: str = "running"  # running; waiting or down make ServicesList an error

    @classmethod
    def parse(cls, assignments: list[str]) -> Switches:
        """Switches from "name=value" texts; ValueError names what is wrong."""
        return cls().set(dict(_halves(each) for each in assignments))

    def set(self, values: dict[str, object]) -> Switches:
        """These switches with some changed; values may be texts. ValueError for an unknown name or value."""
        unknown = sorted(set(values) - set(self._fields))
        if unknown:
            raise ValueError(f"no switch {unknown[0]}; there are {', '.join(self._fields)}")
        typed: dict[str, Any] = {name: _typed(name, value) for name, value in values.items()}
        return self._replace(**typed)


# What releases before 7.1.0 of StorPool's own clients had to cope with.
LEGACY = Switches(open_error="invalidParam", create_global_id=False, revert_size=False)


def _halves(assignment: str) -> tuple[str, str]:
    name, equals, value = assignment.partition("=")
    if not equals:
        raise ValueError(f"switch {assignment}: expected name=value")
    return name, value


_CHOICES = {
    "unknown_fields": ("reject", "ignore"),
    "null_values": ("ignore", "reject"),
    "name_limit": ("separate", "together"),
    "empty_name": ("unnamed", "auto"),
    "tags": ("merge", "replace"),
    "revert_attached": ("busy", "allow"),
    "revert_foreign": ("allow", "refuse"),
    "freeze_attached": ("busy", "allow"),
    "attach_expiry": ("error", "ok"),
    "detach_down": ("ok", "force", "wait"),
    "detach_unattached": ("ok", "error"),
    "rename_link": ("follow", "stay"),
    "multicluster_names": ("local", "all"),
    "multicluster_create": ("owner", "refuse"),
    "multicluster_detach": ("here", "everywhere"),
    "cluster_status": ("running", "waiting", "down"),
}
_TRUTH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _typed(name: str, value: object) -> object:
    default = Switches._field_defaults[name]
    if isinstance(default, bool):
        text = str(value).lower()
        if text not in _TRUTH:
            raise ValueError(f"switch {name}: {value} is neither yes nor no")
        return _TRUTH[text]
    try:
        typed = type(default)(str(value))
    except ValueError:
        raise ValueError(f"switch {name}: {value} is not a number") from None
    if name in _CHOICES and typed not in _CHOICES[name]:
        raise ValueError(f"switch {name}: {value} is none of {', '.join(_CHOICES[name])}")
    return typed
