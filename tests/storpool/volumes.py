"""StorPool's JSON of a volume and a snapshot, as its own documentation shows them."""

from __future__ import annotations

from typing import Any

VOLUME: dict[str, Any] = {
    "name": "one-img-7-42-0",
    "globalId": "d.n.a1z",
    "id": 4711,
    "visibleVolumeId": 4711,
    "size": 10737418240,
    "objectsCount": 320,
    "replication": 3,
    "parentName": "one-img-7@4709",
    "parentVolumeId": 4709,
    "originalParentVolumeId": 4709,
    "templateName": "one-ds-100",
    "templateId": 3,
    "placeAll": "hdd",
    "placeTail": "ssd",
    "placeHead": "hdd",
    "bw": "-",
    "iops": "-",
    "limitType": "total",
    "reuseServer": False,
    "creationTimestamp": 1718000000,
    "flags": 0,
    "firstNotParentObjectId": 0,
    "tags": {"virt": "one", "nloc": "one", "nvm": "42", "type": "NPERS", "diskid": "0"},
}

SNAPSHOT: dict[str, Any] = {
    **VOLUME,
    "name": "one-img-7-42-0-snap1",
    "globalId": "d.n.s1m",
    "onVolume": "-",
    "autoName": False,
    "bound": False,
    "deleted": False,
    "transient": False,
    "recoveringFromRemote": False,
    "targetDeleteDate": 1718172800,
}
