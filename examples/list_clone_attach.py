#!/usr/bin/env python3
"""List StorPool's volumes; clone one and attach the clone to a client.

    list_clone_attach.py                             lists the volumes and where they are attached
    list_clone_attach.py VOLUME CLONE CLIENT_ID      makes CLONE of VOLUME and attaches it to that client

The API and its token come from /etc/storpool.conf or from SP_API_HTTP_HOST, SP_API_HTTP_PORT, SP_AUTH_TOKEN.
It may be run again with the same arguments: what is done already stays as it is.
"""

from __future__ import annotations

import sys

from storpool_addon.errors import AddonError, StorPoolRefused
from storpool_addon.storpool import Api, Reassign, endpoint, read_conf


def show(api: Api) -> None:
    """Print a line for each volume."""
    clients: dict[str, list[str]] = {}
    for attachment in api.attachments_list():
        clients.setdefault(attachment.global_id, []).append(f"{attachment.client} {attachment.rights}")
    for volume in sorted(api.volumes_list()):
        where = ", ".join(clients.get(volume.global_id, ["-"]))
        print(f"{volume.name:40} {volume.size >> 20:8} MiB  from {volume.parent_name or '-'}  at {where}")


def clone_and_attach(api: Api, source: str, clone: str, client: int) -> None:
    """Make a clone and attach it to a client, for reading and writing."""
    try:
        made = api.volume_create(clone, base_on=source, tags={"example": "clone"})
        print(f"made {made.name} (~{made.global_id})")
    except StorPoolRefused as error:
        # Whose is it? Without our tag it is not what an earlier run of this made.
        if error.name != "objectExists" or "example" not in api.volume(clone).tags:
            raise
        print(f"{clone} is there already")
    api.volumes_reassign_wait([Reassign(volume=clone, rw=[client])], attach_timeout_s=20)
    print(f"attached {clone} to client {client}: /dev/storpool/{clone}")


def main(arguments: list[str]) -> int:
    """0 when done, 1 when StorPool or the configuration forbids it, 2 for wrong arguments."""
    if len(arguments) not in (0, 3) or (arguments and not arguments[2].isdigit()):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        api = Api(endpoint(read_conf(missing_ok=True)), log=lambda line: print(line, file=sys.stderr))
        if arguments:
            clone_and_attach(api, arguments[0], arguments[1], int(arguments[2]))
        else:
            show(api)
    except AddonError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
