"""Sizes and durations: OpenNebula counts in MiB, StorPool in bytes (multiples of 512) and seconds."""

from __future__ import annotations

MIB = 1 << 20
SECTOR = 512
# oned keeps sizes as signed 64-bit MiB; StorPool documents no ceiling of its own.
MAX_SIZE = (1 << 63) - 1

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mib_to_bytes(size_mib: int) -> int:
    """Bytes in `size_mib` MiB."""
    return size_mib * MIB


def bytes_to_mib_up(size: int) -> int:
    """MiB that hold `size` bytes: a volume need not be a whole number of MiB, and must not look smaller."""
    return -(-size // MIB)


def bytes_to_mib_down(size: int) -> int:
    """Whole MiB in `size` bytes: for free space, which must not look larger."""
    return size // MIB


def round_up_to_sector(size: int) -> int:
    """`size` bytes, rounded up to StorPool's granularity of 512 bytes."""
    return -(-size // SECTOR) * SECTOR


def duration_s(text: str) -> int:
    """Seconds in `<n>s`, `<n>m`, `<n>h` or `<n>d`, the form of DELAY_DELETE; ValueError for anything else."""
    number, unit = text[:-1], text[-1:]
    if unit not in _SECONDS or not (number.isascii() and number.isdigit()):
        raise ValueError(f"{text!r} is not a duration: a whole number followed by s, m, h or d")
    return int(number) * _SECONDS[unit]
