#!/bin/bash
# Brings a Debian machine to the point where `make` can build and test: host packages by apt, a Debian trixie root
# for the test machine where the host is older, and newlib compiled for freestanding use.
#
# Invariant: every product appears under build/ by one rename after it is complete and checked, so an interrupted run
# leaves nothing half-made and the next run starts where this one stopped. When nothing is missing it takes well
# under a second and writes nothing.
#
# Environment: NESTLING_DEBIAN_MIRROR  a Debian archive to take trixie from, if the host's own apt sources name none.
set -euo pipefail
umask 022
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RELEASE=trixie
TRIXIE_KEYS=/usr/share/keyrings/debian-archive-trixie-stable.gpg # comes with the package that holds them all

# What the host needs: compilers, the EFI and GRUB parts of the images, unit tests, packets.
HOST_PACKAGES=(
    binutils clang g++ gcc libc6-dev make python3 xz-utils
    gnu-efi
    fdisk grub-common grub-efi-amd64-bin grub-pc-bin mtools xorriso
    libclang-rt-dev libcmocka-dev
    iproute2 iputils-ping tshark
)
# What makes the test machine: from trixie, wherever that is installed.
MACHINE_PACKAGES=(
    bochs bochs-term bochsbios vgabios
    ovmf qemu-system-x86
    newlib-source
)

work=
cleanup() { [ -z "$work" ] || as_root rm -rf --one-file-system "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say()     { echo "setup: $*"; }
die()     { echo "setup: error: $*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Runs a long command: its output to LOG, one line on the console every PERIOD lines of it.
# Args: log file, what one line of output is called, period, command...
logged() {
    local log=$1 unit=$2 period=$3
    shift 3
    "$@" < /dev/null 2>&1 | awk -v log_file="$log" -v unit="$unit" -v period="$period" '
        { print > log_file }
        NR % period == 0 { print "setup:   " NR " " unit; fflush() }'
}

# Prints those of the given packages that are not installed below the root directory $1 ("" = the host).
missing_packages() {
    local root=$1
    shift
    local have
    have=$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Package} ${db:Status-Abbrev}\n' "$@" 2>/dev/null |
           awk '$2 ~ /^[ih]i/ { print $1 }') || true
    printf '%s\n' "$@" | grep -vxF -e "$have" || true
}

# --- the host -------------------------------------------------------------------------------------------------------

host_is_old() { # true where the host's release is older than trixie
    local id
    id=$(. /etc/os-release && echo "${VERSION_ID:-999}") # testing and unstable carry no number
    [ "${id%%.*}" -lt 13 ]
}

install_host() {
    local wanted=("${HOST_PACKAGES[@]}") missing
    if host_is_old; then
        wanted+=(debian-archive-keyring mmdebstrap)
    else
        wanted+=("${MACHINE_PACKAGES[@]}")
    fi
    missing=$(missing_packages "" "${wanted[@]}")
    # An early bookworm has that package without the keys of trixie: upgrade it.
    ! host_is_old || [ -e "$TRIXIE_KEYS" ] || missing+=" debian-archive-keyring"
    [ -n "$missing" ] || return 0
    command -v apt-get > /dev/null || die "this needs Debian's apt; missing here:" $missing
    say "installing on this machine:" $missing
    # At most ten minutes for another apt that is running. A cached index may name files the archive no longer has.
    local apt=(apt-get -qy -o DPkg::Lock::Timeout=600)
    mkdir -p build
    logged build/setup-apt.log "lines from apt" 200 as_root "${apt[@]}" update ||
        die "apt-get update failed, see build/setup-apt.log"
    logged build/setup-apt.log "lines from apt" 200 \
        as_root env DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends $missing ||
        die "apt-get install failed, see build/setup-apt.log"
}

# --- the trixie root ------------------------------------------------------------------------------------------------

# Prints "URI KEYRING" of the Debian archive that the host itself is installed from (KEYRING empty = apt's own).
host_archive() {
    if [ -n "${NESTLING_DEBIAN_MIRROR:-}" ]; then
        echo "$NESTLING_DEBIAN_MIRROR"
        return
    fi
    local codename
    codename=$(. /etc/os-release && [ "$ID" = debian ] && echo "${VERSION_CODENAME:-}") || true
    apt-get indextargets --format '$(CODENAME) $(RELEASE) $(COMPONENT) $(REPO_URI) $(SIGNED_BY)' 'Created-By: Packages' |
        awk -v c="$codename" '($1 == c || $2 == c) && $3 == "main" { print $4, $5; exit }'
}

# Prints the host's apt settings that decide whether and how archives are reached: proxies, date checks, retries.
host_apt_options() {
    apt-config dump | grep -Ei '^Acquire::(Check-|Retries|Force|(http|https|ftp)[:" ])' || true
}

trixie_keyring() { # prints the file that holds the keys which sign trixie
    local file
    for file in "$1" /usr/share/keyrings/debian-archive-keyring.gpg; do
        [ -r "$file" ] && [ -e "$TRIXIE_KEYS" ] && echo "$file" && return
    done
    die "the host's debian-archive-keyring does not hold the keys of $RELEASE:" \
        "upgrade that package (apt-get install debian-archive-keyring)"
}

make_trixie() {
    local uri keyring
    read -r uri keyring < <(host_archive) || true
    [ -n "${uri:-}" ] || die "no Debian archive among this machine's apt sources; name one in NESTLING_DEBIAN_MIRROR"
    keyring=$(trixie_keyring "${keyring:-}")
    work=$(mktemp -d build/.setup.XXXXXX)
    host_apt_options > "$work/apt.conf"
    say "making a Debian $RELEASE root at build/trixie (about 450 MB, half a minute)"
    # Its mounts are in a namespace of its own, so none of them outlives it, however it ends.
    logged build/setup-trixie.log "lines from mmdebstrap" 100 \
        as_root unshare --mount --propagation private mmdebstrap --mode=root --variant=minbase \
        --include="$(IFS=,; echo "${MACHINE_PACKAGES[*]}")" --aptopt="$work/apt.conf" \
        "$RELEASE" "$work/root" "deb [signed-by=$keyring] $uri $RELEASE main" ||
        die "mmdebstrap failed, see build/setup-trixie.log"
    as_root chmod 755 "$work/root"
    as_root mv -T "$work/root" build/trixie
}

# Adds packages to the root that is there. /proc and name resolution exist in a mount namespace of the command's own.
extend_trixie() {
    say "adding to build/trixie: $*"
    logged build/setup-trixie.log "lines from apt" 100 as_root unshare --mount --propagation private sh -ec '
        mount -t proc proc build/trixie/proc
        mount --bind /dev build/trixie/dev
        touch build/trixie/etc/resolv.conf
        [ ! -e /etc/resolv.conf ] || mount --bind /etc/resolv.conf build/trixie/etc/resolv.conf
        run() { chroot build/trixie env DEBIAN_FRONTEND=noninteractive apt-get -qy "$@"; }
        run update
        run install --no-install-recommends "$@"
        run clean' sh "$@" || die "could not extend build/trixie, see build/setup-trixie.log; or remove it to start anew"
}

install_trixie() {
    host_is_old || return 0
    [ -d build/trixie ] || make_trixie
    local missing
    missing=$(missing_packages build/trixie "${MACHINE_PACKAGES[@]}")
    [ -z "$missing" ] || extend_trixie $missing
}

# --- newlib ---------------------------------------------------------------------------------------------------------

# One build serves the hypervisor and the guest: code of the kernel model addresses symbols by sign-extended 32-bit
# values, which reach the top 2 GiB and the low 2 GiB alike, and the linker rejects any that does not fit.
# Without SSE the floating-point half of printf and scanf does not compile: these objects are left out (make -k).
NEWLIB_CFLAGS="-O2 -ffreestanding -U__linux__ -U__gnu_linux__ -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone
 -mgeneral-regs-only -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-omit-frame-pointer
 -ffunction-sections -fdata-sections"
NEWLIB_OPTIONS="--disable-multilib --disable-libgloss --disable-newlib-supplied-syscalls --disable-nls
 --enable-newlib-io-long-long --enable-newlib-io-c99-formats --enable-lite-exit --disable-newlib-multithread
 --disable-newlib-wide-orient --disable-newlib-fvwrite-in-streamio"
# What must be in the result, or it is no use to us.
NEWLIB_NEEDED="vsniprintf sniprintf memcpy memmove memset memcmp strlen strnlen strcmp strncmp strchr strtoul strtoull
 qsort malloc free"

compile_newlib() { # args: source directory, build directory (absolute); leaves libc.a in the latter
    local source=$1 obj=$2 tool tools=()
    for tool in AR AS LD NM OBJCOPY OBJDUMP RANLIB READELF STRIP; do
        tools+=("${tool}_FOR_TARGET=${tool,,}")
    done
    cd "$obj"
    "$source/configure" --target=x86_64-elf --prefix=/nowhere $NEWLIB_OPTIONS CC_FOR_TARGET=gcc "${tools[@]}" \
        CFLAGS_FOR_TARGET="$(echo $NEWLIB_CFLAGS)" MAKEINFO=true
    make -k -j"$(nproc)" all-target-newlib MAKEINFO=true || true # see above: some objects cannot be had
    find x86_64-elf/newlib -name 'libc_a-*.o' -print0 | sort -z | xargs -0 ar rcsD libc.a
}

check_newlib() { # arg: the archive
    local symbols name
    symbols=$(nm --defined-only "$1" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
    for name in $NEWLIB_NEEDED; do
        grep -qxF "$name" <<< "$symbols" || die "newlib: $name was not built, see build/setup-newlib.log"
    done
    ! objdump -d --no-show-raw-insn "$1" | grep -qE '%[xyz]mm[0-9]' || die "newlib: uses vector registers"
}

install_newlib() {
    local prefix="" tarball identity
    ! host_is_old || prefix=build/trixie
    tarball=$(ls "$prefix"/usr/src/newlib/newlib-*.tar.* 2>/dev/null | tail -n 1) || true
    [ -n "$tarball" ] || die "no newlib source in $prefix/usr/src/newlib"
    identity=$(echo "$(basename "$tarball") $(gcc --version | head -n 1)" $NEWLIB_CFLAGS $NEWLIB_OPTIONS)
    [ "$(cat build/newlib/identity 2>/dev/null)" != "$identity" ] || return 0
    say "compiling newlib from $(basename "$tarball") (about a minute)"
    work=$(mktemp -d build/.setup.XXXXXX)
    mkdir "$work/source" "$work/obj" "$work/newlib"
    tar -xf "$tarball" -C "$work/source" --strip-components=1
    logged build/setup-newlib.log "lines from newlib's build" 1000 \
        compile_newlib "$PWD/$work/source" "$PWD/$work/obj" || die "newlib: see build/setup-newlib.log"
    check_newlib "$work/obj/libc.a"
    cp -rT "$work/source/newlib/libc/include" "$work/newlib/include"
    cp -rT "$work/obj/x86_64-elf/newlib/targ-include" "$work/newlib/include"
    cp "$work/source/COPYING.NEWLIB" "$work/obj/libc.a" "$work/newlib"
    echo "$identity" > "$work/newlib/identity"
    rm -rf build/newlib
    mv -T "$work/newlib" build/newlib
    rm -rf "$work"
    work=
}

# Fetches the newest package whose name matches $1 into the directory $2 and unpacks it there to root/; false, with a word, if not.
unpack_package() {
    local pattern=$1 dir=$2 package
    package=$(apt-cache search --names-only "$pattern" | awk '{ print $1 }' | sort -V | tail -n 1)
    if [ -z "$package" ]; then
        as_root apt-get update > build/setup-apt.log 2>&1 || true
        package=$(apt-cache search --names-only "$pattern" | awk '{ print $1 }' | sort -V | tail -n 1)
    fi
    [ -n "$package" ] || { say "no package $pattern in the host's apt sources"; return 1; }
    say "fetching $package (to unpack, not to install)"
    (cd "$dir" && apt-get -o APT::Sandbox::User=root download "$package") > build/setup-foreign.log 2>&1 &&
        dpkg-deb -x "$dir/$package"_*.deb "$dir/root" && rm "$dir/$package"_*.deb && return 0
    say "$package could not be fetched (build/setup-foreign.log)"
    return 1
}

# A kernel that is not ours, for the tests: Debian's Xen is a multiboot ELF. Unpacked, not installed. Without it the
# tests that boot it say so and are skipped.
install_foreign() {
    [ ! -s build/foreign/xen.elf ] || return 0
    work=$(mktemp -d build/.setup.XXXXXX)
    mkdir "$work/foreign"
    if unpack_package '^xen-hypervisor-[0-9.]+-amd64$' "$work" &&
        zcat "$work"/root/boot/xen-*-amd64.gz > "$work/foreign/xen.elf"; then
        rm -rf build/foreign
        mv -T "$work/foreign" build/foreign
    else
        say "no foreign kernel to test with"
    fi
    rm -rf "$work"
    work=
}

# lldpad, a VDP and EVB peer for the tests. Unpacked with the libraries that a host need not have: installed, it would start a daemon that
# speaks LLDP on the host's own network. Without it the tests of the peers fail.
install_lldpad() {
    [ ! -x build/lldpad/usr/sbin/lldpad ] || return 0
    work=$(mktemp -d build/.setup.XXXXXX)
    if unpack_package '^lldpad$' "$work" && unpack_package '^libconfig[0-9]+$' "$work" && unpack_package '^libnl-3-200$' "$work"; then
        rm -rf build/lldpad
        mv -T "$work/root" build/lldpad
    else
        say "no VDP peer to test with"
    fi
    rm -rf "$work"
    work=
}

# A stock Linux guest: Debian's kernel for clouds with its virtio network driver, and busybox.
install_linux() {
    [ ! -s build/linux/vmlinuz ] || return 0
    local module
    work=$(mktemp -d build/.setup.XXXXXX)
    mkdir "$work/linux"
    if unpack_package '^linux-image-[0-9.+deb-]+-cloud-amd64$' "$work" && unpack_package '^busybox-static$' "$work"; then
        cp "$work"/root/boot/vmlinuz-* "$work/linux/vmlinuz"
        cp "$(find "$work/root" -path '*bin/busybox' -type f)" "$work/linux/busybox"
        for module in failover net_failover virtio_net; do
            find "$work/root" -name "$module.ko*" -exec cp {} "$work/linux" \;
        done
        find "$work/linux" -name '*.ko.xz' -exec unxz {} +
        rm -rf build/linux
        mv -T "$work/linux" build/linux
    else
        say "no Linux guest to test with"
    fi
    rm -rf "$work"
    work=
}

mkdir -p build
exec 9> build/.setup.lock # one at a time: a second caller waits and then finds everything made
flock 9
install_host
install_trixie
[ -z "$work" ] || { as_root rm -rf --one-file-system "$work"; work=; }
install_newlib
install_foreign
install_linux
install_lldpad

# What the Makefile has to know; rewritten only when it changes, since make then starts over.
gnu_efi=$(dirname "$(dpkg -L gnu-efi | grep '/crt0-efi-x86_64\.o$')")
facts="GNU_EFI := $gnu_efi"
[ "$(cat build/setup.mk 2>/dev/null)" = "$facts" ] || echo "$facts" > build/setup.mk
