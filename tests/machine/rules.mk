# The test machine's parts; included by the top Makefile, paths are relative to the top.
MACHINE_WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Werror
MACHINE_DIR  := tests/machine
MACHINE_OBJ  := build/machine

# Plugin of Bochs: host code
MACHINE_PLUGIN_SRC := $(addprefix $(MACHINE_DIR)/plugin/,main.c end.c ram.c mailbox.c forward.c config.c storage.c \
	interrupts.c ioapic.c vtd.c clock.c hooks.c)
MACHINE_PLUGIN_OBJ := $(MACHINE_PLUGIN_SRC:$(MACHINE_DIR)/%.c=$(MACHINE_OBJ)/%.o)

$(MACHINE_OBJ)/plugin/%.o: $(MACHINE_DIR)/plugin/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -fPIC -I. -MMD -MP $(MACHINE_WARN) -c $< -o $@

$(MACHINE_OBJ)/libbx_nestling.so: $(MACHINE_PLUGIN_OBJ)
	$(CC) -shared $^ -o $@

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
	$(LD) -m elf_x86_64 -nostdlib -static --no-dynamic-linker -T $(MACHINE_DIR)/agent/agent.ld \
		$(MACHINE_AGENT_OBJ) -o $(MACHINE_OBJ)/agent.elf
	objcopy -O binary --gap-fill 0xff $(MACHINE_OBJ)/agent.elf $@

.PHONY: machine
machine: $(MACHINE_OBJ)/agent.bin $(MACHINE_OBJ)/libbx_nestling.so

-include $(MACHINE_PLUGIN_OBJ:.o=.d) $(MACHINE_AGENT_OBJ:.o=.d)
