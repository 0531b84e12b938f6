"""Programs that are sent to hosts and run by their Python: one file each, for Python 3.6 or newer."""
