# The Linux guest: a shim that loads a bzImage, and an initial RAM disk. tests/setup.sh fetches kernel, modules and busybox to
# build/linux; where it could not, there is nothing to make and the tests say so.
LINUX_FILES := $(wildcard build/linux/vmlinuz)
LINUX_PARTS := $(if $(LINUX_FILES),build/linux/shim.elf build/linux/initrd.cpio)
LINUX_CFLAGS := -m32 -std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
	-fno-asynchronous-unwind-tables -mgeneral-regs-only

build/linux/shim.elf: tests/linux/start.S tests/linux/shim.c tests/linux/shim.ld
	@echo "  LD      $@"
	@gcc $(LINUX_CFLAGS) -nostdlib -static -Wl,--build-id=none -T tests/linux/shim.ld -o $@ $(filter-out %.ld,$^)
build/linux/initrd.cpio: tests/linux/init tests/linux/initrd.py tests/machine/cpio.py build/linux/busybox
	@echo "  INITRD  $@"
	@python3 tests/linux/initrd.py build/linux tests/linux/init $@
