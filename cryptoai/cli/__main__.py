"""`python -m cryptoai.cli`: the command, for children that must run with this very interpreter."""

from cryptoai.cli import run

run()
