"""The cluster's key-value store."""

from __future__ import annotations

from typing import Any

from storpool_addon.simulator import fields
from storpool_addon.simulator.calls.registry import Request, call, ok
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Bucket
from storpool_addon.simulator.refusal import Refused, exists, invalid, missing

Json = dict[str, Any]


@call("GET", "KV")
def buckets(cluster: Cluster, request: Request) -> Json:
    return {"buckets": {each.name: each.version for each in cluster.table(Bucket).values()}}


@call("GET", "KV/List/{bucket}")
def bucket_list(cluster: Cluster, request: Request) -> Json:
    return _bucket(cluster, request.args[0])._asdict()


@call("GET", "KV/Get/{bucket}/{key}")
def bucket_get(cluster: Cluster, request: Request) -> Json:
    bucket, key = _bucket(cluster, request.args[0]), request.args[1]
    if key not in bucket.pairs:
        raise missing("Key", key)
    return bucket._replace(pairs={key: bucket.pairs[key]})._asdict()


def _bucket(cluster: Cluster, name: str) -> Bucket:
    found = cluster.table(Bucket).get(name)
    if found is None:
        raise missing("Bucket", name)
    return found


@call("POST", "KV/Create/{bucket}")
def bucket_create(cluster: Cluster, request: Request) -> Json:
    name = fields.bucket_name(request.args[0])
    if name in cluster.table(Bucket):
        raise exists(name)
    with cluster.change():
        cluster.put(Bucket(name, 0, {}))
    return ok(cluster)


@call("POST", "KV/Delete/{bucket}")
def bucket_delete(cluster: Cluster, request: Request) -> Json:
    with cluster.change():
        cluster.drop(_bucket(cluster, request.args[0]))
    return ok(cluster)


@call("POST", "KV/Set/{bucket}")
def bucket_set(cluster: Cluster, request: Request) -> Json:
    bucket = _bucket(cluster, request.args[0])
    values = request.fields(cluster, {"runIfVersionIs": fields.natural, "set": fields.pairs})
    if "set" not in values:
        raise invalid("No set specified")
    if values.get("runIfVersionIs", bucket.version) != bucket.version:
        raise Refused("runIfVersionIsMismatch", f"The version of bucket '{bucket.name}' is {bucket.version}")
    pairs = {key: value for key, value in {**bucket.pairs, **values["set"]}.items() if value}
    with cluster.change():
        cluster.put(bucket._replace(version=bucket.version + 1, pairs=pairs))
    return ok(cluster)
