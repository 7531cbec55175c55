# The test machine's parts; included by the top Makefile, paths are relative to the top.
MACHINE_WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Werror
MACHINE_DIR  := tests/machine
MACHINE_OBJ  := $(or $(B),build)/machine
MACHINE_LD   := ld

# Plugin of Bochs: host code
MACHINE_PLUGIN_SRC := $(addprefix $(MACHINE_DIR)/plugin/,main.c end.c ram.c mailbox.c forward.c config.c storage.c \
	interrupts.c ioapic.c vtd.c clock.c console.c hooks.c processor.c)
MACHINE_PLUGIN_OBJ := $(MACHINE_PLUGIN_SRC:$(MACHINE_DIR)/%.c=$(MACHINE_OBJ)/%.o)

$(MACHINE_OBJ)/plugin/%.o: $(MACHINE_DIR)/plugin/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -fPIC -I. -MMD -MP $(MACHINE_WARN) -c $< -o $@

$(MACHINE_OBJ)/libbx_nestling.so: $(MACHINE_PLUGIN_OBJ)
	$(CC) -shared $^ -o $@
$(MACHINE_OBJ)/libidle.so: $(MACHINE_OBJ)/plugin/idle.o
	$(CC) -shared -nostdlib $^ -o $@

# Agent: a 64 KiB ROM for QEMU's vCPUs
MACHINE_AGENT_CFLAGS := -std=gnu11 -O2 -ffreestanding -fno-stack-protector -fcf-protection=none -mno-red-zone \
	-mgeneral-regs-only -fpie -fno-asynchronous-unwind-tables -fno-jump-tables -I. -MMD -MP $(MACHINE_WARN)
MACHINE_AGENT_OBJ := $(MACHINE_OBJ)/agent/start.o $(MACHINE_OBJ)/agent/agent.o

$(MACHINE_OBJ)/agent/%.o: $(MACHINE_DIR)/agent/%.c
	@mkdir -p $(@D)
	$(CC) $(MACHINE_AGENT_CFLAGS) -c $< -o $@

$(MACHINE_OBJ)/agent/%.o: $(MACHINE_DIR)/agent/%.S
	@mkdir -p $(@D)
	$(CC) $(MACHINE_AGENT_CFLAGS) -c $< -o $@

$(MACHINE_OBJ)/agent.bin: $(MACHINE_AGENT_OBJ) $(MACHINE_DIR)/agent/agent.ld
	$(MACHINE_LD) -m elf_x86_64 -nostdlib -static --no-dynamic-linker -T $(MACHINE_DIR)/agent/agent.ld \
		$(MACHINE_AGENT_OBJ) -o $(MACHINE_OBJ)/agent.elf
	objcopy -O binary --gap-fill 0xff $(MACHINE_OBJ)/agent.elf $@

# EFI programs: the machine's self-test, and the patcher of ACPI tables for tests of bad machines
MACHINE_EFI_LIB := $(patsubst %/,%,$(dir $(firstword $(wildcard /usr/lib/crt0-efi-x86_64.o \
	/usr/lib/*/crt0-efi-x86_64.o /usr/lib/*/gnuefi/crt0-efi-x86_64.o))))
MACHINE_EFI_CFLAGS := -std=gnu11 -O2 -fpic -ffreestanding -fno-stack-protector -fcf-protection=none -fshort-wchar \
	-mno-red-zone -mgeneral-regs-only -DGNU_EFI_USE_MS_ABI -I. \
	-isystem /usr/include/efi -isystem /usr/include/efi/x86_64 -MMD -MP $(MACHINE_WARN)
MACHINE_EFI_SECTIONS := $(addprefix -j ,.text .sdata .data .rodata .dynamic .dynsym .rel .rela .rel.* .rela.* .reloc)
MACHINE_SELFTEST_OBJ := $(addprefix $(MACHINE_OBJ)/selftest/,main.o report.o platform.o pci.o irq.o vtd.o igb.o \
	test_nic.o test_cpu.o)
MACHINE_PATCH_OBJ := $(addprefix $(MACHINE_OBJ)/selftest/,acpi_patch.o report.o)

$(MACHINE_OBJ)/selftest/%.o: $(MACHINE_DIR)/selftest/%.c
	@mkdir -p $(@D)
	$(CC) $(MACHINE_EFI_CFLAGS) -c $< -o $@

$(MACHINE_OBJ)/selftest.so: $(MACHINE_SELFTEST_OBJ)
$(MACHINE_OBJ)/acpi_patch.so: $(MACHINE_PATCH_OBJ)
$(MACHINE_OBJ)/selftest.so $(MACHINE_OBJ)/acpi_patch.so:
	$(MACHINE_LD) -nostdlib -znocombreloc -znoexecstack -shared -Bsymbolic --no-undefined -T $(MACHINE_EFI_LIB)/elf_x86_64_efi.lds \
		$(MACHINE_EFI_LIB)/crt0-efi-x86_64.o $^ -o $@ -L$(MACHINE_EFI_LIB) -lefi -lgnuefi

$(MACHINE_OBJ)/%.efi: $(MACHINE_OBJ)/%.so
	objcopy $(MACHINE_EFI_SECTIONS) --target efi-app-x86_64 --subsystem=10 $< $@

.PHONY: machine
machine: $(addprefix $(MACHINE_OBJ)/,agent.bin libbx_nestling.so libidle.so selftest.efi acpi_patch.efi)

-include $(patsubst %.o,%.d,$(MACHINE_PLUGIN_OBJ) $(MACHINE_AGENT_OBJ) $(MACHINE_SELFTEST_OBJ) $(MACHINE_PATCH_OBJ))
