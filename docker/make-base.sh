#!/usr/bin/env bash
# Makes a base image with debootstrap, for machines that reach Debian's and Python's packages but no image registry.
# Needs root, docker and debootstrap, and some 40 s. With --trust-host the image also gets this machine's certificates
# and pip configuration, for networks whose packages come through a proxy or a mirror: do not give such an image away.
#
#   docker/make-base.sh [--trust-host] [IMAGE]          then: docker build --build-arg BASE_IMAGE=IMAGE ...
set -euo pipefail

trust_host=no
if [ "${1:-}" = --trust-host ]; then
    trust_host=yes
    shift
fi
image=${1:-framefleet-base}
mirror=${DEBIAN_MIRROR:-}  # empty: the one that debootstrap itself knows
packages=ca-certificates,python3-pip  # bookworm's Python is 3.11

for tool in docker debootstrap; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install docker.io debootstrap" >&2; exit 1; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
log=$folder/debootstrap.log
root=$folder/root
if ! debootstrap --variant=minbase --include="$packages" bookworm "$root" ${mirror:+"$mirror"} >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
fi

# like the official image: `python` and `pip` work on the one Python there is
rm -f "$root"/usr/lib/python3.*/EXTERNALLY-MANAGED
ln -s /usr/bin/python3 "$root/usr/local/bin/python"
rm -rf "$root"/var/cache/apt/archives/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
    "$root"/usr/share/{doc,info,locale,man}/*
if [ "$trust_host" = yes ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    # one section of all its files, and of that how packages are reached: files and folders of this machine,
    # such as those of constraints and wheels, would not be there, and addresses with a password stay here
    reach='index-url|extra-index-url|trusted-host|proxy|cert|timeout|default-timeout|retries'
    { echo '[global]'; python3 -m pip config list |
        sed -nE "s/^global\.($reach)='(.*)'\$/\1 = \2/p" | { grep -v -e 'file:' -e '://[^/ ]*@' || true; }; } >"$root/etc/pip.conf"
fi
tar -C "$root" -c . | docker import - "$image" >/dev/null
echo "$image"
