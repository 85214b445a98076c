#!/bin/sh
# Checks for what building and running take: cargo, a C linker, a graphics driver. Installs the driver where it may.
set -eu
fail() { echo "setup.sh: $*" >&2; exit 1; }
any() { for file; do if [ -e "$file" ]; then return 0; fi; done; return 1; }
driver() { [ -n "${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}" ] || any /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; }
loader() { PATH=$PATH:/sbin ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || any /usr/lib/libvulkan.so.1 /usr/lib64/libvulkan.so.1; }

need=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$(dirname "$0")/Cargo.toml")
command -v cargo >/dev/null || fail "cargo is missing; install Rust 1.$need or newer as https://rustup.rs says, then open a new shell"
have=$(cargo --version | sed 's/^cargo 1\.\([0-9]*\).*/\1/')
[ "$have" -ge "$need" ] || fail "cargo 1.$have is too old; run \`rustup update\` for 1.$need or newer"
case $(uname -s) in MINGW* | MSYS* | CYGWIN*) echo "ready: DX12 is part of Windows"; exit ;; esac
command -v cc >/dev/null || fail "no C linker (cc); run \`apt-get install gcc libc6-dev\` as root, or \`xcode-select --install\` on macOS"
if [ "$(uname -s)" = Darwin ]; then echo "ready: Metal is part of macOS"; exit; fi

if ! { driver && loader; }; then
    root=$([ "$(id -u)" -eq 0 ] || echo "sudo -n")
    if ! { command -v apt-get >/dev/null && $root true 2>/dev/null; }; then fail "no Vulkan driver; as root, run one of
  apt-get install mesa-vulkan-drivers libvulkan1     (Debian, Ubuntu)
  dnf install mesa-vulkan-drivers vulkan-loader      (Fedora)
  pacman -S vulkan-swrast vulkan-icd-loader          (Arch)"; fi
    echo "installing mesa-vulkan-drivers and libvulkan1"
    $root apt-get -qq update && $root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y mesa-vulkan-drivers libvulkan1 >/dev/null
    { driver && loader; } || fail "mesa-vulkan-drivers is installed, yet no driver is in /usr/share/vulkan/icd.d; look at \`apt-get -f install\`"
fi
echo "ready: cargo 1.$have, cc, a Vulkan driver"
