#!/bin/sh
# Unpacks the software driver of Debian's backports beside the installed one, into target/mesa, and prints the file that
# VK_DRIVER_FILES takes. Fails where there is no apt-get, no network, or no newer one.
set -eu
cd "$(dirname "$0")/.."
folder=$PWD/target/mesa
file=$folder/lvp_icd.json
if [ ! -e "$file" ]; then
    rm -rf "$folder"
    mkdir -p "$folder/lists/partial"
    . /etc/os-release
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $VERSION_CODENAME-backports main" >"$folder/sources.list"
    apt() { apt-get -qq -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$folder/lists" "$@" >&2; }
    apt update
    (cd "$folder" && apt download mesa-vulkan-drivers)
    dpkg -x "$folder"/mesa-vulkan-drivers_*.deb "$folder/root"
    library=$(find "$folder/root" -name libvulkan_lvp.so)
    printf '{"file_format_version": "1.0.0", "ICD": {"api_version": "1.3.0", "library_path": "%s"}}\n' "$library" >"$file"
fi
echo "$file"
