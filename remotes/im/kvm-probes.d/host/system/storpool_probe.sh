#!/bin/sh
# Runs on a host, as one of OpenNebula's probes: which StorPool client it is, of which cluster, and how many
# CPUs the VMs' slice has. Needs nothing but a shell and cat, prints only what is known (an empty value would
# wipe what an administrator has set), and always ends well: a probe that fails takes all others with it.
set -f
# A character is a byte: patterns below mean those of ASCII.
LC_ALL=C
newline='
'

lines() { # of a file, as arguments of `set`; the shell's own `read` would ask the kernel for every byte
    [ -r "$1" ] || set -- /dev/null
    [ -s "$1" ] || return
    IFS=$newline
    set -- $(cat "$1")
    each_line "$@"
}

trimmed() { # VALUE: without blanks around it and a carriage return
    value=${1%"${1##*[![:space:]]}"}
    value=${value#"${value%%[![:space:]]*}"}
}

plain() { # VALUE: OpenNebula's template text has no escapes, so that what could end the value goes,
    # and what is not ASCII: in another encoding it would spoil the document of all hosts
    plain=$1
    while :; do
        case $plain in
            *[\"\\]*) plain=${plain%%[\"\\]*}_${plain#*[\"\\]} ;;
            *[!\ -~]*) plain=${plain%%[!\ -~]*}_${plain#*[!\ -~]} ;;
            *']]>'*) plain=${plain%%']]>'*}]]_${plain#*']]>'} ;;
            *) break ;;
        esac
    done
}

# --- StorPool's configuration: the unnamed section of each file, then this host's ---

conf_line() { # LINE
    case $1 in
        '['*']') trimmed "${1#?}" && trimmed "${value%]}" && section=$value ;;
        *=*)
            trimmed "${1%%=*}" && name=$value
            trimmed "${1#*=}" && value=${value#\"} && value=${value%\"}
            case $section:$name in
                :SP_OURID) all_id=$value ;;
                :SP_CLUSTER_ID) all_cluster=$value ;;
                :SP_CLUSTER_NAME) all_name=$value ;;
                "$host":SP_OURID) own_id=$value ;;
                "$host":SP_CLUSTER_ID) own_cluster=$value ;;
                "$host":SP_CLUSTER_NAME) own_name=$value ;;
            esac ;;
    esac
}

conf() { # FILE
    section='' all_id='' all_cluster='' all_name='' own_id='' own_cluster='' own_name=''
    each_line() {
        held=
        for line; do
            line=$held$line
            # Most lines are about something else. What follows takes time by the square of a length.
            case ${#line},$line in
                ????*,*) held= && continue ;;
                *SP_OURID* | *SP_CLUSTER_* | *[][\\]*) trimmed "$line" && line=$value ;;
                *) held= && continue ;;
            esac
            case $line in
                '#'* | ';'*) held= ;;
                *\\) held=${line%\\} ;;
                *) held= && conf_line "$line" ;;
            esac
        done
    }
    lines "$1"
    id=${own_id:-${all_id:-$id}}
    cluster=${own_cluster:-${all_cluster:-$cluster}}
    name_of=${own_name:-${all_name:-$name_of}}
}

soon() { # COMMAND: which is ended after a second, where there is something that does that
    timeout 1 "$@" || case $? in 126 | 127) "$@" ;; esac
}

client() {
    id='' cluster='' name_of='' host=''
    read -r host 2>/dev/null </proc/sys/kernel/hostname || :
    conf /etc/storpool.conf
    set +f
    for file in /etc/storpool.conf.d/*.conf; do
        set -f
        [ ! -r "$file" ] || conf "$file"
    done
    set -f
    if [ -z "$id" ]; then
        # Files that only StorPool's own tool can read.
        PATH=$PATH:/usr/sbin:/sbin
        section=$host own_id=''
        if command -v storpool_confshow >/dev/null; then
            IFS=$newline
            for line in $(soon storpool_confshow -e SP_CLUSTER_ID SP_CLUSTER_NAME SP_OURID 2>/dev/null); do
                conf_line "${line#export }"
            done
        fi
        id=$own_id cluster=${own_cluster:-$cluster} name_of=${own_name:-$name_of}
    fi
    [ -z "$cluster" ] || { plain "$cluster" && echo "SP_CLUSTER_ID=\"$plain\""; }
    [ -z "$name_of" ] || { plain "$name_of" && echo "SP_CLUSTER_NAME=\"$plain\""; }
    case $id in
        '' | *[!0-9]*) ;;
        *) echo "SP_OURID=\"$id\"" ;;
    esac
}

# --- the CPUs of the VMs' slice ---

slice_cpus() {
    slice=machine.slice
    each_line() {
        for line; do
            case $line in
                *cgroup=*) trimmed "$line" ;;
                *) continue ;;
            esac
            case $value in
                cgroup=*) trimmed "${value#cgroup=}" && value=${value#[\"\']} && slice=${value%%[\"\'\ \#]*} ;;
            esac
        done
    }
    remotes=${0%/*}/../../../..
    lines "$remotes/addon-storpoolrc"
    lines "$remotes/etc/im/kvm-probes.d/reserved_resources.conf"
    case $slice in
        '' | *[!A-Za-z0-9_.:-]*) return ;;
    esac

    IFS=,
    set +f
    for tree in /sys/fs/cgroup/cpuset /sys/fs/cgroup /sys/fs/cgroup/unified; do
        for group in "$tree/$slice" "$tree"/*.slice/"$slice" "$tree"/*.slice/*.slice/"$slice"; do
            for file in cpuset.cpus.effective cpuset.effective_cpus cpuset.cpus; do
                cpus=
                [ ! -r "$group/$file" ] || read -r cpus <"$group/$file" || :
                case $cpus in '' | *[!0-9,-]*) continue ;; esac
                count=0
                for range in $cpus; do count=$((count + ${range#*-} - ${range%-*} + 1)); done
                echo "SP_LIBVIRT_CPUS=$count"
                return
            done
        done
    done
}

# Each in a shell of its own: what one of them cannot digest ends neither the other nor the probe.
(client) 2>/dev/null
(slice_cpus) 2>/dev/null
exit 0
