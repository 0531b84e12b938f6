"""A client of StorPool's management API, usable by itself: endpoints, records, a method for each call."""

from storpool_addon.storpool.api import Api
from storpool_addon.storpool.conf import client_id, read_conf
from storpool_addon.storpool.endpoints import Endpoint, endpoint
from storpool_addon.storpool.records import (
    Attachment,
    BackedUp,
    ClientConfig,
    ClientId,
    Created,
    Export,
    GroupSnapshot,
    Policy,
    Reassign,
    RemoteSnapshot,
    Service,
    Services,
    Snapshot,
    SnapshotCreated,
    Space,
    Template,
    TemplateStatus,
    Volume,
    VolumeStatus,
)

__all__ = [
    "Api",
    "Attachment",
    "BackedUp",
    "ClientConfig",
    "ClientId",
    "Created",
    "Endpoint",
    "Export",
    "GroupSnapshot",
    "Policy",
    "Reassign",
    "RemoteSnapshot",
    "Service",
    "Services",
    "Snapshot",
    "SnapshotCreated",
    "Space",
    "Template",
    "TemplateStatus",
    "Volume",
    "VolumeStatus",
    "client_id",
    "endpoint",
    "read_conf",
]
