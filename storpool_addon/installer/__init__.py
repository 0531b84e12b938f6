"""Puts the driver on an OpenNebula front-end: what `install.py` does, with the standard library alone."""
