#!/bin/sh
# Installs the programs that some tests and benchmarks compare with. Without them those are skipped.
set -eu

packages='chromium curl default-jre-headless gnutls-bin haproxy hitch iproute2 libfaketime libnginx-mod-stream libstrongswan-standard-plugins nftables nginx-light openssl redis-server spin stunnel4 strongswan-pki systemd systemd-container tshark'

if ! command -v apt-get >/dev/null 2>&1; then
    echo "This installs with apt-get, which was not found. Some tests compare with these programs:"
    echo "openssl, curl, stunnel, gnutls-cli, certtool, pki (strongSwan), haproxy, redis-server, keytool,"
    echo "nginx with its stream module, hitch,"
    echo "chromium, tshark, spin, faketime, ip, nft, and systemd's systemd-analyze,"
    echo "systemd-socket-activate and systemd-nspawn."
    echo "Install those you want with your system's package manager; the tests find them in PATH."
    exit 1
fi

# shellcheck disable=SC2086
if dpkg-query --show --showformat='${db:Status-Status}\n' $packages 2>/dev/null |
    awk '$1 == "installed" { there++ } END { exit there != 20 }'; then
    echo "All there: $packages"
    exit 0
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "Installing needs root: run 'make peers' as root, or install sudo." >&2
        exit 1
    }
    as_root=sudo
fi
# A list that cannot be fetched is no reason to stop: the packages may be known already.
$as_root apt-get update --quiet --quiet || true
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet \
    --no-install-recommends $packages
