"""Records as the API answers them."""

from __future__ import annotations

from typing import Any

from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Attachment, Client, Policy, Template, Volume

OBJECT_SIZE = 32 << 20  # data lives in objects of 32 MiB
DISKS = (101, 102, 103)
SERVERS = (1, 2, 3)
VERSION = "21.0.0"
Json = dict[str, Any]


def summary(cluster: Cluster, volume: Volume, *, located: bool = False) -> Json:
    """VolumeSummary or SnapshotSummary. located: with the cluster's name, as multicluster calls have it."""
    answer = {
        "name": volume.title,
        "globalId": volume.gid,
        "id": volume.id,
        "visibleVolumeId": volume.id,
        "size": volume.size,
        "objectsCount": objects_count(volume),
        "creationTimestamp": volume.created,
        "flags": 0,
        "firstNotParentObjectId": 0,
        "tags": volume.tags,
        **_ancestry(cluster, volume),
        **_policy(cluster, volume.policy),
    }
    if located:
        answer.update(clusterName=cluster.name, clusterId=cluster.cluster_id)
    if volume.snapshot:
        answer.update(_snapshot(cluster, volume))
    return answer


def objects_count(volume: Volume) -> int:
    """How many objects the volume spans."""
    return -(-volume.size // OBJECT_SIZE)


def _ancestry(cluster: Cluster, volume: Volume) -> Json:
    parent = cluster.table(Volume).get(volume.parent)
    template = cluster.table(Template).get(volume.template)
    parent_id = parent.id if parent else 0
    return {
        "parentName": parent.title if parent else "",
        "parentVolumeId": parent_id,
        "originalParentVolumeId": parent_id,
        "templateName": template.name if template else "",
        "templateId": volume.template,
    }


def _policy(cluster: Cluster, policy: Policy) -> Json:
    return {
        "replication": "2+2" if cluster.switches.erasure_coding else policy.replication,
        "placeAll": policy.place_all,
        "placeTail": policy.place_tail,
        "placeHead": policy.place_head,
        "iops": policy.iops,
        "bw": policy.bw,
        "limitType": policy.limit_type,
        "reuseServer": policy.reuse_server,
    }


def _snapshot(cluster: Cluster, snapshot: Volume) -> Json:
    answer: Json = {
        "onVolume": on_volume(cluster, snapshot),
        "autoName": snapshot.auto_name,
        "bound": snapshot.bound,
        "deleted": bool(snapshot.gone_at),
        "destroyed": False,
        "transient": snapshot.transient,
        "recoveringFromRemote": False,
        "targetDeleteDate": snapshot.delete_date,
        "backup": bool(snapshot.backup_of),
        "deleteBlocked": "not blocked",
    }
    if snapshot.gone_at and len(cluster.children.get(snapshot.gid, ())) > 1:
        answer["deleteBlocked"] = "multiple children"
    if snapshot.made_from:
        answer.update(
            createdFromGlobalId=snapshot.made_from, createdFromVisibleVolumeId=snapshot.made_from_id
        )
    if snapshot.backup_of:
        answer["backupOfGlobalId"] = snapshot.backup_of
    return answer


def on_volume(cluster: Cluster, snapshot: Volume) -> str:
    """The volume that the snapshot is the parent of, "-" when there is none."""
    objects = cluster.table(Volume)
    children = [objects[gid] for gid in cluster.children.get(snapshot.gid, ())]
    volumes = [each for each in children if not each.snapshot]
    return min(volumes, key=lambda each: each.id).title if volumes else "-"


def info(cluster: Cluster, volume: Volume, *, located: bool = False) -> Json:
    """VolumeInfo or SnapshotInfo: where the objects are, in numbers."""
    count = objects_count(volume)
    chain = [{"disks": list(DISKS), "count": count}]
    return {
        **summary(cluster, volume, located=located),
        "disksCount": len(DISKS),
        "objectsPerDisk": {str(disk): count for disk in DISKS},
        "objectsPerChain": chain,
        "objectsPerDiskSet": chain,
    }


def description(cluster: Cluster, volume: Volume, *, located: bool = False) -> Json:
    """Volume or Snapshot as VolumeDescribe gives it: every object and its disks."""
    return {
        **summary(cluster, volume, located=located),
        "targetDiskSets": [list(DISKS)],
        "objects": [list(DISKS)] * objects_count(volume),
    }


def status(cluster: Cluster, volume: Volume, *, located: bool = False) -> Json:
    """VolumeStatusQuick or SnapshotStatusQuick."""
    drives: list[int] = []
    return {
        **summary(cluster, volume, located=located),
        "status": "up",
        "snapshot": volume.snapshot,
        "migrating": False,
        "decreasedRedundancy": False,
        "balancerBlocked": False,
        "syncingDataBytes": 0,
        "syncingMetaObjects": 0,
        "downBytes": 0,
        "upSoonChainsCount": 0,
        "downDrives": drives,
        "missingDrives": drives,
        "missingTargetDrives": drives,
        "softEjectingDrives": drives,
    }


def attachment(cluster: Cluster, each: Attachment, *, located: bool = False) -> Json:
    """AttachmentDesc."""
    volume = cluster.table(Volume)[each.gid]
    answer = {
        # A client of another cluster has a number of its own here (`multicluster`).
        "client": each.client % 4096,
        "volume": volume.title,
        "globalId": each.gid,
        "snapshot": volume.snapshot,
        "rights": each.rights,
        "pos": each.pos,
    }
    if cluster.switches.attachment_tags:
        answer["tags"] = volume.tags
    if located:
        number = each.client // 4096
        client_of = [cluster, *cluster.federated.values()][number]
        answer.update(cluster=client_of.name, clusterId=client_of.cluster_id)
    return answer


def template(cluster: Cluster, each: Template) -> Json:
    """VolumeTemplateDesc."""
    parent = cluster.table(Volume).get(each.parent)
    return {
        "id": each.id,
        "name": each.name,
        "parentName": parent.title if parent else "",
        "size": each.size or "-",
        **_policy(cluster, each.policy),
    }


def client_status(cluster: Cluster, each: Client, delay_s: int = 0) -> Json:
    """ClientConfigStatus."""
    running = each.status == "running"
    status = "ok" if running else each.status
    return {
        "id": each.id,
        "generation": cluster.generation,
        "clientGeneration": cluster.generation if running else each.generation,
        "configStatus": status,
        "delay": delay_s,
    }
