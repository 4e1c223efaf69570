#!/usr/bin/env bash
# Installs CryptoAI for one role into a new virtual environment, at the exact versions of requirements.lock.
# The one way in: the image, `make setup` and the tests all run this file.
#
#   docker/install.sh ROLE TARGET
#
#   operator  the Kubernetes operator: no torch, no market data
#   bot       decides and trades against an inference server: no torch, no client of a venue before it trades live
#   serve     the inference server: a bundle and what evaluates it, no market data, no kopf
#   train     training and features
#   all       everything that runs on one machine (the demo)
#   dev       all of it, editable, with the tools of `make check`
#
# PYTHON names the interpreter (default python3; 3.11 or newer).
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: docker/install.sh operator|bot|serve|train|all|dev TARGET" >&2
  exit 64
fi
role=$1
target=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
editable=()

case $role in
  operator) extras=operator ;;
  bot) extras=trading,features ;;
  serve) extras=serving ;;
  train) extras=learn,features ;;
  all) extras=all ;;
  dev)
    extras=all,dev
    editable=(--editable)
    ;;
  *)
    echo "docker/install.sh: role '$role' is not one of operator, bot, serve, train, all, dev" >&2
    exit 64
    ;;
esac

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "docker/install.sh: $python is older than 3.11; set PYTHON to a newer one" >&2
  exit 69
fi
if ! "$python" -m venv "$target"; then
  echo "docker/install.sh: cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2
  exit 69
fi
# Python 3.11 puts an old setuptools into every environment; who needs one gets that of the lock.
"$target/bin/python" -m pip uninstall --disable-pip-version-check --quiet --quiet --yes setuptools
"$target/bin/python" -m pip install --disable-pip-version-check --quiet --constraint "$root/requirements.lock" \
  "${editable[@]}" "$root[$extras]"
