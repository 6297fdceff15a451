#!/bin/sh
# Installs the simulators that bench_peers.py compares with into a folder of their own:
#   benchmarks/speed/install_peers.sh FOLDER [PYTHON]
# Nothing is added to the environment of PYTHON (the one adacal runs in; `.venv/bin/python` unless
# given). Their torch is the one installed there, so only what they need to be imported is fetched.
set -eu
folder=${1:?"name the folder to install into, for example /tmp/peers"}
python=${2:-.venv/bin/python}
"$python" -m pip install --quiet --no-deps --target "$folder" \
    spikingjelly==2.0.0 loguru sinabs==3.1.3 pbr nir nirtorch
echo "now run: $python benchmarks/speed/bench_peers.py --peers $folder"
