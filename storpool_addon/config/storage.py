"""Keys about names, the StorPool API, and how disks are attached and deleted."""

from __future__ import annotations

import re

from storpool_addon.config import key
from storpool_addon.config.key import DATASTORE, Key

CLIENT_ID_SOURCES = ("LOCAL", "ONEHOST", "FROMHOST", "HOSTHOSTNAME", "BRIDGELIST", "CLONEGW")
# These are asked even when a site's list leaves them out, as the bash addon does.
_CLUSTER_ID = re.compile(r"[a-z0-9]{1,32}\.[a-z0-9]{1,32}", re.ASCII)
_ALWAYS = CLIENT_ID_SOURCES[:4]


def _sources(text: str) -> tuple[str, ...]:
    words = tuple(text.split())
    if not set(words) <= set(CLIENT_ID_SOURCES):
        raise ValueError(text)
    return (*words, *(each for each in _ALWAYS if each not in words))


def _cluster_ids(text: str) -> tuple[str, ...]:
    words = tuple(text.replace(",", " ").split())
    if not all(_CLUSTER_ID.fullmatch(each) for each in words):
        raise ValueError(text)
    return words


class Naming:
    """Names and tags"""

    one_px = key.tag(
        "ONE_PX",
        "one",
        "Prefix of all names in StorPool. It must differ between OpenNebula instances that share a cluster.",
    )
    loc_tag = key.tag("LOC_TAG", "nloc", "Key of the tag that says which OpenNebula a volume belongs to.")
    own_loc_tag_val = key.word("LOC_TAG_VAL", "", "Value of that tag; empty for the value of ONE_PX.")
    vm_tag = key.tag("VM_TAG", "nvm", "Key of the tag that holds the id of the VM that uses a volume.")


class OpenNebulaAccess:
    """OpenNebula"""

    one_xmlrpc = key.text("ONE_XMLRPC", "", "Where oned answers; empty for the account's one_endpoint.")
    one_call_retries = key.number(
        "ONE_CALL_RETRIES", "3", "How often a call to oned that got no answer is repeated.", most=20
    )
    one_home = key.text(
        "ONE_HOME",
        "/var/lib/one",
        "Where OpenNebula keeps `config`, its settings at run time, for tweaks that are programs.",
    )


class StorPoolAccess:
    """StorPool API"""

    sp_api_http_host = key.text(
        "SP_API_HTTP_HOST", "", "Address of the API; empty for what storpool.conf says.", DATASTORE
    )
    sp_api_http_port = key.text(
        "SP_API_HTTP_PORT", "", "Port of the API; empty for what storpool.conf says.", DATASTORE
    )
    sp_auth_token: Key[str] = Key(
        "SP_AUTH_TOKEN",
        "",
        "Token of the API; empty for what storpool.conf says.",
        str,
        "any text",
        (DATASTORE,),
    )
    sp_cluster_id = key.word(
        "SP_CLUSTER_ID",
        "",
        "Id of the datastore's cluster, as in storpool.conf; to be set where there are several. The client id"
        " of a host there is its SP_OURID, or one for this cluster alone: SP_OURID_D_N for d.n.",
        DATASTORE,
    )
    multicluster: Key[tuple[str, ...]] = Key(
        "SP_MULTICLUSTER",
        "",
        "Ids of the other clusters of the datastore's StorPool multicluster; empty when it is in none. A"
        " volume is then found, and worked on, in whichever of them it is.",
        _cluster_ids,
        "ids such as d.n, with blanks or commas between them",
        (DATASTORE,),
    )
    sp_api_connect_timeout_s = key.seconds(
        "SP_API_CONNECT_TIMEOUT", "1", "Seconds in which an address of the API must accept a connection."
    )
    sp_api_deadline_s = key.number(
        "SP_API_DEADLINE",
        "60",
        "Seconds in which a call to the API must succeed, with all its repeats and other addresses;"
        " the API's move to another node takes some.",
        least=1,
        most=3600,
    )
    client_id_sources: Key[tuple[str, ...]] = Key(
        "STORPOOL_CLIENT_ID_SOURCES",
        " ".join(CLIENT_ID_SOURCES),
        "Who is asked for the client id of a host, in this order: storpool.conf of the front-end (LOCAL), the"
        " host's SP_OURID in OpenNebula (ONEHOST), the host (FROMHOST), storpool.conf under the name that the"
        " host calls itself (HOSTHOSTNAME), the hosts of BRIDGE_LIST, the host of SP_CLONE_GW (CLONEGW).",
        _sources,
        "words of " + " ".join(CLIENT_ID_SOURCES),
    )
    common_domain = key.word(
        "COMMON_DOMAIN", "", "Domain that is added to a host's name in a second look-up."
    )
    sp_clone_gw = key.word("SP_CLONE_GW", "", "Host that copies images between clusters.", DATASTORE)
    clone_compression = key.flag(
        "CLONE_COMPRESSION", "0", "Compress what is copied between clusters (`ssh -C`)."
    )


class Disks:
    """Disks"""

    attach_timeout_s = key.number(
        "ATTACH_TIMEOUT", "20", "Seconds that StorPool waits for the client at an attach.", least=1, most=3600
    )
    readonly_mode = key.choice(
        "READONLY_MODE",
        "rw",
        "How read-only disks, CDROMs and context images are attached. libvirt 7 and later want rw.",
        "rw",
        "ro",
    )
    delay_delete_s = key.duration(
        "DELAY_DELETE", "48h", "How long a deleted disk can be had back; empty to delete at once."
    )
    no_volume_template = key.flag(
        "NO_VOLUME_TEMPLATE",
        "1",
        "Leave a clone in the StorPool template of its image, and a moved disk in the one that it has.",
    )
    system_compatible_ds = key.words(
        "SYSTEM_COMPATIBLE_DS",
        "ceph",
        "Other transfer managers whose disks a VM may have when it migrates live; they are told of it (also:"
        " SYSTEM_COMPATIBLE_DS[ceph]=1).",
    )
    tag_context_iso = key.flag("TAG_CONTEXT_ISO", "1", "Give the context image the tags of its VM.")
    include_context_packages = key.flag(
        "INCLUDE_CONTEXT_PACKAGES", "0", "Put /usr/share/one/context/* into the context image.", key.VM
    )
    mkisofs = key.text(
        "MKISOFS", "", "Program that builds the context image; empty for the first that is there."
    )
