"""Gives the project a Kubernetes cluster for tests: the one given, kind, or a native one built from Debian's source.

Called by `make cluster`, `make cluster-down` and `scripts/images.py`; standard library only, so that it runs before
anything is installed. It must never touch a cluster whose context is not named for tests, nor stop what it did not
start.
"""
