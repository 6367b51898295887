#!/bin/sh
# Installs what the runtimes of `python apps/benchmark.py --runtimes=...` need, by Debian's apt, pip
# and npm. What is there already is kept.
#
#   sh scripts/install_runtimes.sh [micro] [gpu] [browser] [arm64] [mediapipe] [explorer]
#                                                                             default: all
#
# micro    the package tflite-micro, into the Python of PYTHON (default python3)
# gpu      a loader of Vulkan, and the software Vulkan of Debian's chromium, for machines without card
# browser  chromium, and LiteRT.js
# arm64    an ARM64 Python with LiteRT under qemu-user-static, about 400 MB
# mediapipe  MediaPipe Tasks in an environment of its own, to see how it reads exported files
# explorer Model Explorer in an environment of its own (660 MB), to see how it reads them
#
# Everything but system packages goes into QFA_TF_RUNTIMES (default ~/.cache/qfa_tf/runtimes).
set -eu
python=${PYTHON:-python3}
place=${QFA_TF_RUNTIMES:-${XDG_CACHE_HOME:-$HOME/.cache}/qfa_tf/runtimes}
mkdir -p "$place"

system_packages() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" ||
            missing="$missing $package"
    done
    [ -z "$missing" ] && return
    echo "Installing$missing"
    $(command -v sudo || true) apt-get update -q >/dev/null
    # shellcheck disable=SC2086
    $(command -v sudo || true) apt-get install -y -q --no-install-recommends $missing >/dev/null
}

install_micro() {
    "$python" -m pip install --quiet "tflite-micro>=0.dev20261001"
}

install_gpu() {
    system_packages libvulkan1 chromium
}

install_browser() {
    system_packages chromium
    [ -d "$place/browser/node_modules/@litertjs/core" ] && return
    command -v npm >/dev/null || system_packages npm
    npm install --silent --prefix "$place/browser" "@litertjs/core@^2.5.3"
}

install_arm64() {
    system_packages qemu-user-static debootstrap
    rootfs=$place/arm64/rootfs
    site=$place/arm64/site
    if [ ! -x "$rootfs/usr/bin/python3.11" ]; then
        mkdir -p "$place/arm64"
        # A mirror of the system is taken where one is set.
        debootstrap --foreign --arch=arm64 --variant=minbase \
            --include=python3.11-minimal,libpython3.11-stdlib,libstdc++6 \
            bookworm "$rootfs" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >/dev/null
        for package in "$rootfs"/var/cache/apt/archives/*.deb; do
            dpkg -x "$package" "$rootfs"
        done
    fi
    # LiteRT reads the processor from here, and crashes where it finds the one of the host.
    mkdir -p "$rootfs/proc"
    for core in 0 1; do
        printf 'processor\t: %s\nBogoMIPS\t: 62.50\n' $core
        printf 'Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid '
        printf 'asimdrdm asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\n'
        printf 'CPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 0\n\n'
    done > "$rootfs/proc/cpuinfo"
    [ -d "$site/ai_edge_litert" ] ||
        "$python" -m pip install --quiet --target "$site" --only-binary=:all: \
            --python-version 3.11 --implementation cp --abi cp311 \
            --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
            --platform manylinux2014_aarch64 \
            "ai-edge-litert>=2.3,<3" numpy flatbuffers lazy-loader
}

install_mediapipe() {
    [ -x "$place/mediapipe/bin/python" ] || "$python" -m venv "$place/mediapipe"
    "$place/mediapipe/bin/python" -m pip install --quiet "mediapipe>=1.2,<2"
}

install_explorer() {
    [ -x "$place/explorer/bin/python" ] || "$python" -m venv "$place/explorer"
    "$place/explorer/bin/python" -m pip install --quiet "ai-edge-model-explorer>=0.1.34,<0.2"
}

[ $# -gt 0 ] || set -- micro gpu browser arm64 mediapipe
for part in "$@"; do
    case $part in
    micro | gpu | browser | arm64 | mediapipe | explorer)
        "install_$part"
        echo "$part is installed."
        ;;
    *)
        echo "A part is micro, gpu, browser, arm64, mediapipe or explorer. Received: $part." >&2
        exit 2
        ;;
    esac
done
