#!/bin/bash
# Writes the two images for test servers: a disk (GPT with an EFI system partition: UEFI starts Nestling directly) and
# an ISO (GRUB loads Nestling by multiboot2; BIOS and UEFI).
#
# Usage: mkimage.sh BUILD-DIRECTORY OUTPUT-DIRECTORY
# Environment: BUNDLE  the bundle, as a cpio archive or as a directory to make one of; default: that of `make run`.
#
# Invariant: no mounts and no loop devices, and an image appears under its name only when it is complete.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
[ $# = 2 ] || { echo "usage: $0 BUILD-DIRECTORY OUTPUT-DIRECTORY" >&2; exit 2; }
build=$1 out=$2
here=$(dirname "$0")

MIB=$((1 << 20))
ESP_START=$MIB           # of the partition, in bytes
FAT32_MIN=$((34 * MIB))  # FAT32 needs 65525 clusters; with one sector each, 33 MiB and a bit
GPT_TAIL=$MIB            # room for the second partition table at the end

mkdir -p "$out"
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
die() { echo "mkimage: error: $*" >&2; exit 1; }

make_bundle() {
    if [ -z "${BUNDLE:-}" ]; then
        python3 "$here/main_run.py" --write-bundle "$work/bundle.cpio"
    elif [ -d "$BUNDLE" ]; then
        [ -f "$BUNDLE/nestling.cfg" ] || die "BUNDLE=$BUNDLE holds no nestling.cfg"
        python3 "$here/machine/cpio.py" "$BUNDLE" "$work/bundle.cpio"
    elif [ -f "$BUNDLE" ]; then
        cp "$BUNDLE" "$work/bundle.cpio"
    else
        die "BUNDLE=$BUNDLE does not exist"
    fi
}

make_disk() {
    local size esp
    size=$(stat -c %s "$work/bundle.cpio" "$build/nestling.efi" | awk '{ n += $1 } END { print n }')
    size=$(( (size + size / 8) / MIB * MIB + 2 * MIB ))
    [ "$size" -ge "$FAT32_MIN" ] || size=$FAT32_MIN
    truncate -s $((ESP_START + size + GPT_TAIL)) "$work/disk"
    # UEFI 2.10, GPT Disk Layout; the type "U" is the EFI system partition.
    printf 'label: gpt\nstart=%d, size=%d, type=U, name=nestling\n' $((ESP_START / 512)) $((size / 512)) |
        sfdisk --quiet --no-reread --no-tell-kernel "$work/disk"
    esp=$work/disk@@$ESP_START
    mformat -i "$esp" -F -c 1 -T $((size / 512)) -v NESTLING
    mmd -i "$esp" ::EFI ::EFI/BOOT ::nestling
    mcopy -i "$esp" "$build/nestling.efi" ::EFI/BOOT/BOOTX64.EFI
    mcopy -i "$esp" "$work/bundle.cpio" ::nestling/bundle.cpio
    mv "$work/disk" "$out/nestling.img"
}

make_iso() {
    mkdir -p "$work/iso/boot/grub"
    cp "$build/nestling.elf" "$work/bundle.cpio" "$work/iso/boot/"
    cat > "$work/iso/boot/grub/grub.cfg" <<'CFG'
serial --unit=0 --speed=115200
terminal_output console serial
set timeout=0
menuentry Nestling {
    multiboot2 /boot/nestling.elf
    module2 /boot/bundle.cpio
}
CFG
    grub-mkrescue -o "$work/disc" "$work/iso" > "$work/log" 2>&1 || { cat "$work/log" >&2; die "grub-mkrescue failed"; }
    mv "$work/disc" "$out/nestling.iso"
}

make_bundle
make_disk
make_iso
ls -sh1 "$out/nestling.img" "$out/nestling.iso"
