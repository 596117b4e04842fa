#!/usr/bin/env bash
# Installs Debian's Chromium where no browser is there and it may be installed (root, apt), for the tests of the report.
# May be called again. Without a browser those tests are skipped, so this never fails; it takes 5 minutes at most.
set -uo pipefail

give_up() {
    echo "install-browser: $1; the tests of the report in a browser will be skipped"
    exit 0
}

for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
    command -v "$name" >/dev/null && exit 0
done
[ "$(id -u)" = 0 ] || give_up "there is no browser, and only root can install one"
command -v apt-get >/dev/null || give_up "there is no browser, and none can be installed without apt-get"
echo "install-browser: installing chromium ..."
export DEBIAN_FRONTEND=noninteractive
{ timeout 60 apt-get -qq update && timeout 240 apt-get -qq install --no-install-recommends chromium; } \
    >/dev/null 2>"${TMPDIR:-/tmp}/framefleet-browser.log" </dev/null ||
    give_up "chromium cannot be installed: $(tail -n 1 "${TMPDIR:-/tmp}/framefleet-browser.log")"
