"""Plays the cloud around the driver: oned, its hosts and StorPool; for the demo and the tests."""
