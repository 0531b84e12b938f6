"""Keys about monitoring, logging and tools on hosts."""

from __future__ import annotations

from storpool_addon.config import key


class Monitoring:
    """Monitoring"""

    sp_fe_json_path = key.text(
        "SP_FE_JSON_PATH",
        "/var/cache/addon-storpool-monitor",
        "Directory of what `storpool-addon collect` keeps.",
    )
    sp_template_status_minutes = key.number(
        "SP_TEMPLATE_STATUS_MINUTES",
        "60",
        "Minutes after which `monitor` does not take capacity from what was collected, but asks StorPool.",
    )
    sp_volume_space_minutes = key.number(
        "SP_VOLUME_SPACE_MINUTES",
        "60",
        "Minutes after which the space of all volumes is collected again.",
    )
    sp_snapshot_space_minutes = key.number(
        "SP_SNAPSHOT_SPACE_MINUTES",
        "65",
        "Minutes after which the space of all snapshots is collected again, with that of the volumes.",
    )
    sp_skip_monitor = key.flag(
        "SP_SKIP_MONITOR",
        "0",
        "Collect nothing on account of this datastore, and do not tell it about its template.",
        key.DATASTORE,
    )
    raft_leader_ip = key.word(
        "RAFT_LEADER_IP",
        "",
        "Address that the leading front-end has; periodic work is done only there. Empty to read it from"
        " oned's configuration, `disabled` to work everywhere.",
    )
    alt_stats = key.flag("ALT_STATS", "0", "Count what StorPool keeps for itself (u2, u3) as free.")
    sp_space_used_lvmway = key.flag(
        "SP_SPACE_USED_LVMWAY", "0", "Report what is stored in a volume, without its copies."
    )
    monitor_collect_seconds = key.number(
        "MONITOR_COLLECT_SECONDS",
        "200",
        "How long a round of `storpool-addon collect` waits for a cluster; what comes later is left out.",
        least=1,
    )
    monitor_vmsnapshots = key.flag("MONITOR_VMSNAPSHOTS", "0", "Report the size of VM snapshots too.")
    monitor_address = key.word("MONITOR_ADDRESS", "127.0.0.1", "Where monitord listens.")
    monitor_port = key.number("MONITOR_PORT", "4124", "The port of monitord.", least=1, most=65535)
    monitor_send_udp = key.flag("MONITOR_SEND_UDP", "0", "Send to monitord by UDP and not by TCP.")
    exporter_listen = key.text(
        "EXPORTER_LISTEN", "127.0.0.1:9776", "Where `storpool-addon exporter` serves metrics for Prometheus."
    )
    monitor_host_id = key.integer("MONITOR_HOST_ID", "-1", "Host id in those messages.")


class HostTools:
    """Tools on hosts"""

    cgroup = key.word("cgroup", "machine.slice", "Slice of the VMs, whose CPUs and memory are reported.")
    skip_reserved_cpu = key.flag("SKIP_RESERVED_CPU", "0", "Do not report RESERVED_CPU.")
    libvirt_uri = key.text(
        "LIBVIRT_URI",
        "qemu:///system",
        "Where libvirt answers on a host, for tweaks that are programs; all else goes by kvmrc.",
    )


class Logging:
    """Logging"""

    log_to_file = key.flag("LOG_TO_FILE", "0", "Also append the log to /var/log/one/addon-storpool.log.")
