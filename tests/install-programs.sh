#!/usr/bin/env bash
# Install the programs that tests need and this machine lacks: `make test-deps`. Debian and Ubuntu, as root or by sudo.
# Without them `make test` skips the tests that need them. Elsewhere it says what they are. With the argument
# `containers` it installs those of `make test-containers` too.
set -euo pipefail

missing=()
wished=() # without these tests run too, but take longer
need() { # program, Debian's packages
    command -v "$1" >/dev/null || missing+=("${@:2}")
}
# Where Debian has what only root needs.
PATH="$PATH:/usr/sbin:/sbin"
need java openjdk-17-jre-headless # Kafka
need mvn maven                    # fetches Kafka's jars
# Debian has one without windows, which takes less than half the CPU.
is_debian="$(sed -n 's/^ID=debian$/yes/p' /etc/os-release 2>/dev/null || true)"
if command -v chromium >/dev/null; then
    [[ -z "$is_debian" ]] || command -v chromium-headless-shell >/dev/null || wished+=(chromium-headless-shell)
elif [[ -n "$is_debian" ]]; then
    need chromium-headless-shell chromium-headless-shell fonts-dejavu-core
else
    need chromium chromium fonts-dejavu-core
fi
need redis-server redis-server
need prometheus prometheus # and promtool
need prometheus-alertmanager prometheus-alertmanager # and amtool
need node nodejs # the example for producers in TypeScript
need npm npm
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

if ((${#missing[@]} + ${#wished[@]} == 0)); then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    ((${#missing[@]})) || exit 0
    echo "the tests need these packages of Debian, under whatever name this system has them: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if ((EUID != 0)); then
    command -v sudo >/dev/null || ((${#missing[@]})) || exit 0
    command -v sudo >/dev/null || { echo "only root may install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
all=("${missing[@]}" "${wished[@]}")
echo "installing ${all[*]}" >&2
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20)
install() {
    ((${#} == 0)) || "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >"$log" 2>&1
}
# Where nothing can be fetched, what is only wished is done without.
"${apt[@]}" update </dev/null >"$log" 2>&1 || ((${#missing[@]} == 0)) || { cat "$log" >&2; exit 1; }
install "${missing[@]}" || { cat "$log" >&2; exit 1; }
install "${wished[@]}" || echo "not installed: ${wished[*]}; the tests take longer without" >&2
