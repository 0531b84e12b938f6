"""What the lab's small guest runs: the first process, and what it obeys on its serial line.

`do N COMMAND` on a line is answered by `begin N`, what the command prints, and `done N CODE`. What begins in
the background goes on. `ready` is printed once, when the first command can come.
"""

SCRIPT = r"""#!/bin/sh
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order
[ ! -d /sys/firmware/efi ] || mount -t efivarfs efivarfs /sys/firmware/efi/efivars
ln -s /proc/mounts /etc/mtab

# The guest agent finds the file systems that it freezes in /proc/self/mountinfo.
agent() {
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat "$port/name" 2>/dev/null)" = org.qemu.guest_agent.0 ] || continue
        qemu-ga -m virtio-serial -p "/dev/${port##*/}" -t /run -f /run/qemu-ga.pid >/run/agent.log 2>&1 &
    done
}

# The power button is an input device; any event of it ends the guest.
button() {
    for input in /sys/class/input/event*; do
        [ "$(cat "$input/device/name" 2>/dev/null)" = "Power Button" ] || continue
        (head -c 24 "/dev/input/${input##*/}" >/dev/null && shutdown) &
    done
}

# --- words for tests

# One line for each disk: name, bytes, and serial number or -. A drive without a medium cannot be read.
disks() {
    for disk in /sys/block/vd* /sys/block/sd* /sys/block/sr*; do
        head -c 1 "/dev/${disk##*/}" >/dev/null 2>&1 || continue
        serial=$(cat "$disk/serial" 2>/dev/null)
        echo "${disk##*/} $(($(cat "$disk/size") * 512)) ${serial:--}"
    done
}

# Waits until a command succeeds, ten seconds.
await() {
    for _ in $(seq 100); do
        if "$@" >/dev/null 2>&1; then return; fi
        usleep 100000
    done
    echo "in vain: $*"
    return 1
}

no() { ! "$@"; }

# Mounts the file system of a disk, as soon as that is there.
attach() { await test -b "/dev/$1" && mkdir -p "/$2" && mount "/dev/$1" "/$2"; }

# Writes a file and is sure that it is on the disk.
store() { printf '%s' "$2" >"$1" && sync; }

rewrite() {
    dd if=/run/written of="$1" bs=512 conv=notrunc,fsync && dd if="$1" of=/run/read bs=512 iflag=direct
}

# Begins to count in memory; each number is written to a file, and read back from the disk itself.
count() {
    rm -f /run/end
    while [ ! -e /run/end ]; do
        n=$((n + 1))
        printf '%0511d\n' "$n" >/run/written
        rewrite "$1" 2>/run/said || { cat /run/said >>/run/wrong; break; }
        cmp /run/written /run/read >>/run/wrong 2>&1 || break
        echo "$n" >/run/count
        usleep 100000
    done &
}
counted() { cat /run/count; }
goes_on() { last=$(counted) && await is_past "$last" && counted; }
is_past() { [ "$(counted)" -gt "$1" ]; }
end_count() { touch /run/end && wait "$!" && counted; }

# What went wrong so far: nothing, or lines.
wrong() {
    cat /run/wrong 2>/dev/null
    dmesg | grep -iE 'I/O error|EXT4-fs (error|warning)|hung task|soft lockup|BUG:' || true
}

# One command (hexadecimal) to the TPM, and its answer.
tpm() {
    exec 3<>/dev/tpm0
    printf '%s' "$1" | xxd -r -p >/run/tpm && cat /run/tpm >&3 && dd bs=4096 count=1 <&3 2>/dev/null | xxd -p
    exec 3>&-
}

serve() {
    stty -echo -onlcr -isig
    # What the kernel says is in dmesg; here it would fall into the middle of an answer.
    dmesg -n 1
    printf '\nready %s\n' "$(cut -d' ' -f1 /proc/uptime)"
    while IFS= read -r line; do
        case $line in
            'do '*)
                line=${line#do }
                printf '\nbegin %s\n' "${line%% *}"
                eval "${line#* }" </dev/null 2>&1
                printf '\ndone %s %s\n' "${line%% *}" "$?" ;;
        esac
    done
}

agent
button
serve <>/dev/ttyS0 >&0 2>&0
"""
# What the agent calls to end the guest, and what the power button does.
SHUTDOWN = r"""#!/bin/sh
sync
umount -a -r 2>/dev/null
/bin/busybox poweroff -f
"""
