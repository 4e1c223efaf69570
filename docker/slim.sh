#!/usr/bin/env bash
# Takes out of a virtual environment what no image runs, and compiles what is left. The last step of an image's install.
#
#   docker/slim.sh VENV
#
# Python's own `compileall` runs here and not in pip: it uses every core, and nothing is compiled that is deleted next.
set -euo pipefail

venv=${1:?usage: docker/slim.sh VENV}
site=$(echo "$venv"/lib/python3.*/site-packages)

# A plug-in of mypy comes with Feast; who checks types has it from the extra `dev`.
"$venv/bin/python" -m pip uninstall --disable-pip-version-check --quiet --quiet --yes mypy mypy-extensions librt pip
# The tests of others: folders of that exact name, so that numpy.testing and the like stay.
find "$site" -type d -name tests -prune -exec rm -rf {} +
# torch is built for C++ users too, and tested by them. It looks for bin/torch_shm_manager when it is imported.
rm -rf "$site"/torch/{include,share,test}
find "$site/torch/bin" -type f ! -name torch_shm_manager -delete 2>/dev/null || true
rm -rf "$site"/pyarrow/{include,src} "$site"/feast/ui
find "$site" -name '*.a' -delete

# Some packages carry templates that are no Python; like pip, we leave them as they are.
"$venv/bin/python" -m compileall -qq -j 0 "$site" || true
