# conform.elf: a hypervisor's conformance tests as a multiboot kernel, and an ISO that boots it on the bare machine.
CONFORM_VECTORS := tests/conform/base.c tests/conform/vectors_ctl.c tests/conform/vectors_inject.c tests/conform/vectors_host.c \
	tests/conform/vectors_guest.c tests/conform/vectors_segment.c tests/conform/vectors_state.c
CONFORM_SRCS := tests/conform/multiboot1.S tests/conform/pieces.S tests/conform/main.c tests/conform/report.c tests/conform/session.c \
	tests/conform/insn.c tests/conform/insn_operands.c tests/conform/fields.c \
	tests/conform/world.S tests/conform/world.c tests/conform/entry.c $(CONFORM_VECTORS) \
	tests/conform/guest_pieces.S tests/conform/exits.c tests/conform/exits_cr.c tests/conform/exits_vmx.c \
	tests/conform/exits_memory.c tests/conform/exits_other.c \
	tests/conform/events.c tests/conform/events_features.c tests/conform/sipi.c tests/conform/steps.c tests/conform/translate.c \
	tests/conform/random.c tests/conform/random_state.c tests/conform/validate.c
CONFORM_GUEST := guest/start.S guest/lib/ap.c guest/lib/ap_page.S guest/lib/cmdline.c guest/lib/console.c guest/lib/mbi.c guest/lib/memory.c guest/lib/nest.c \
	guest/lib/stubs.S guest/lib/syscalls.c guest/lib/traps.c
CONFORM_OBJS = $(call objects,$(CONFORM_GUEST) $(CONFORM_SRCS))

all: $(B)/conform.elf

$(B)/conform.elf: $(CONFORM_OBJS) guest/guest.ld
	@echo "  LD      $@"
	@$(CC) $(LDFLAGS) -Wl,-T,guest/guest.ld -o $(B)/conform.debug $(CONFORM_OBJS) $(NEWLIB)/libc.a
	@objcopy --strip-all $(B)/conform.debug $@

-include $(patsubst %.o,%.d,$(CONFORM_OBJS))
