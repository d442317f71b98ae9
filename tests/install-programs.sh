#!/usr/bin/env bash
# Install the programs that tests need and this machine lacks: `make test-deps`. Debian and Ubuntu, as root or by sudo.
# Without them `make test` skips the tests that need them. Elsewhere it says what they are. With the argument
# `containers` it installs those of `make test-containers` too.
set -euo pipefail

missing=()
need() { # program, Debian's packages
    command -v "$1" >/dev/null || missing+=("${@:2}")
}
# Where Debian has what only root needs.
PATH="$PATH:/usr/sbin:/sbin"
need java openjdk-17-jre-headless # Kafka
need mvn maven                    # fetches Kafka's jars
need chromium chromium fonts-dejavu-core
need redis-server redis-server
need prometheus prometheus # and promtool
need prometheus-alertmanager prometheus-alertmanager # and amtool
need node nodejs # examples for producers in TypeScript, Java and Go
need npm npm
need go golang-go
need wget wget # what health checks of docker-compose.yml call
need unshare util-linux
need faketime faketime # wrong clocks
if [[ "${1:-}" == containers ]]; then
    need buildah buildah
    need podman podman
    need crun crun
    need catatonit catatonit # the first process of a pod
    need iptables iptables
    need ip iproute2
    need mmdebstrap mmdebstrap # makes a base image of Debian's packages
    need /usr/lib/podman/netavark netavark
    need /usr/lib/podman/aardvark-dns aardvark-dns
fi
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)

if ((${#missing[@]} == 0)); then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "the tests need these packages of Debian, under whatever name this system has them: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if ((EUID != 0)); then
    command -v sudo >/dev/null || { echo "only root may install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
echo "installing ${missing[*]}" >&2
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20)
{ "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1 ||
    { cat "$log" >&2; exit 1; }
