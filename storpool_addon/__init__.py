"""The StorPool storage driver for OpenNebula."""

__version__ = "1.0.0.dev0"
