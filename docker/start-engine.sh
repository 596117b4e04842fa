#!/usr/bin/env bash
# Makes a container engine answer, for the tests on containers: starts it, and installs it where it may (root, apt).
# May be called again. Without an engine those tests are skipped, so this never fails; it takes 4 minutes at most.
set -uo pipefail
log=/var/log/framefleet-dockerd.log

give_up() {
    echo "start-engine: $1; the tests on containers will be skipped"
    exit 0
}
answers() { timeout 20 docker info >/dev/null 2>&1; }
has_compose() { timeout 20 docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

if answers && has_compose; then
    exit 0
fi
[ "$(id -u)" = 0 ] || give_up "no container engine answers, and only root can start one"

packages=()
command -v dockerd >/dev/null || answers || packages+=(docker.io)
has_compose || packages+=(docker-compose)
grep -qE '^[^ ]+ /sys/fs/cgroup[^ ]* cgroup' /proc/mounts || packages+=(cgroupfs-mount)
command -v debootstrap >/dev/null || packages+=(debootstrap) # for a base image where there is no registry
if [ "${#packages[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null || give_up "${packages[*]} cannot be installed without apt-get"
    echo "start-engine: installing ${packages[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    { timeout 60 apt-get -qq update && timeout 100 apt-get -qq install --no-install-recommends "${packages[@]}"; } \
        >/dev/null 2>"${TMPDIR:-/tmp}/framefleet-apt.log" </dev/null ||
        give_up "${packages[*]} cannot be installed: $(tail -n 1 "${TMPDIR:-/tmp}/framefleet-apt.log")"
fi
if ! answers; then
    grep -qE '^[^ ]+ /sys/fs/cgroup[^ ]* cgroup' /proc/mounts || cgroupfs-mount
    echo "start-engine: starting dockerd, whose log is $log"
    setsid nohup dockerd >"$log" 2>&1 </dev/null &
    engine=$!
    for second in $(seq 40); do
        answers && exit 0
        # it ends if the package's own service has been quicker, which then answers soon
        kill -0 "$engine" 2>/dev/null || [ "$second" -lt 15 ] || break
        sleep 1
    done
    answers || give_up "dockerd does not start: $(tail -n 1 "$log")"
fi
