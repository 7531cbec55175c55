# Nestling: one Makefile for everything. `make help` lists what it can do.
#
# A new source file: add it to its folder's list. A new unit test: one stanza in the table below.
# Another compiler: make CC=clang (its products go to build/clang).

ifneq ($(filter default undefined,$(origin CC)),)
CC := gcc
endif
B ?= $(if $(filter clang%,$(notdir $(CC))),build/clang,build)

# ---- sources, listed per folder ----

BOOT_SRCS := boot/entry.S boot/boot_main.c boot/multiboot2.c boot/memmap.c boot/serial.c boot/ap_start.S boot/ap_start.c
EFI_SRCS := boot/efi_main.c boot/efi_bundle.c boot/efi_image.c boot/efi_handoff.c boot/efi_payload.S \
	boot/memmap.c boot/serial.c
CORE_SRCS := core/acpi.c core/acpi_tables.c core/apic.c core/bundle.c core/config.c core/config_value.c core/console.c \
	core/exception.c core/fault.c core/hypercall.c core/idt.S core/insn.c core/insn_emulate.c core/ioapic.c core/irq.c core/libc.c \
	core/loader.c core/loader_elf.c core/loader_mb1.c core/loader_mb2.c core/main.c core/mem.c core/monitor.c core/outer.c \
	core/paging.c core/panic.c core/pci.c core/percpu.c core/poweroff.c core/ptab.c core/report.c \
	core/report_print.c core/symbols.c core/time.c core/trace.c core/vacpi.c core/vdev.c core/vioapic.c core/vm.c core/vm_mem.c \
	core/vmisc.c core/vpci.c core/vpic.c core/vuart.c
VMX_SRCS := vmx/vmx.c vmx/vmcs.c vmx/vmx_enter.S vmx/vcpu.c vmx/vcpu_state.c vmx/sched.c vmx/ept.c vmx/exit.c \
	vmx/exit_fast.c vmx/exit_io.c vmx/exit_mmio.c vmx/exit_trace.c vmx/cpuid.c vmx/cr.c vmx/msr.c vmx/guest_walk.c vmx/no_ug.c vmx/posting.c vmx/vlapic.c \
	vmx/vlapic_regs.c vmx/vlapic_ipi.c \
	vmx/nested_cap.c vmx/nested_chain.c vmx/nested_check_ctl.c vmx/nested_check_guest.c vmx/nested_check_host.c vmx/nested_check_plain.c vmx/nested_cr.c \
	vmx/nested_entry.c vmx/nested_ept.c vmx/nested_ept12.c vmx/nested_exit.c vmx/nested_fast.c vmx/nested_fields.c \
	vmx/nested_host.c vmx/nested_insn.c vmx/nested_life.c vmx/nested_link.c \
	vmx/nested_irq.c vmx/nested_mem.c vmx/nested_merge.c vmx/nested_msr.c vmx/nested_page.c vmx/nested_park.c vmx/nested_premap.c \
	vmx/nested_reflect.c vmx/nested_region.c vmx/nested_save.c vmx/nested_shadow.c vmx/nested_state.c vmx/nested_vpid.c
IOMMU_SRCS := iommu/devices.c iommu/dmar.c iommu/domain.c iommu/faults.c iommu/iommu.c iommu/irte.c iommu/vtd_qi.c \
	iommu/vtd_unit.c
NIC_SRCS := nic/ecp.c nic/ecp_link.c nic/etag.c nic/extender.c nic/lldp.c nic/lldp_agent.c nic/pe_csp.c nic/pe_csp_pdu.c nic/vdp.c nic/vdp_pdu.c \
	nic/igb.c nic/igb_conf.c nic/igb_data.c nic/igb_irq.c nic/igb_link.c nic/igb_mbx.c nic/igb_mode.c nic/igb_plugin.c \
	nic/igb_pool.c nic/igb_port.c nic/igb_ring.c nic/igb_scrub.c nic/igb_setup.c nic/igb_state.c \
	nic/igb_vf.c nic/igb_vfreg.c nic/msix.c nic/nic.c nic/nic_hc.c nic/nic_monitor.c nic/port.c nic/port_dma.c nic/port_ext.c nic/port_ext_control.c \
	nic/port_irq.c \
	nic/plugin_igbvf.S nic/port_mode.c nic/port_regs.c nic/port_state.c nic/sriov.c nic/state.c nic/upstream.c nic/upstream_data.c \
	nic/uplink.c nic/upstream_dev.c nic/virtq_dev.c \
	nic/vnet.c nic/vnet_ctrl.c nic/vnet_msix.c nic/vnet_pci.c nic/vnet_regs.c nic/vnet_rx.c nic/vnet_tx.c
GUEST_SRCS := guest/start.S guest/main.c \
	guest/lib/ap.c guest/lib/ap_page.S guest/lib/clock.c guest/lib/cmdline.c guest/lib/console.c guest/lib/mbi.c guest/lib/memory.c guest/lib/nest.c \
	guest/lib/stubs.S guest/lib/syscalls.c guest/lib/traps.c \
	guest/net/ip.c guest/net/net.c guest/net/pci.c guest/net/plugin_load.c guest/net/port.c guest/net/shell.c \
	guest/net/shell_dev.c guest/net/shell_emu.c guest/net/shell_switch.c guest/net/shell_vf.c guest/net/virtio_plugin.c \
	guest/work/attack.c guest/work/blast.c guest/work/blast_proto.c guest/work/check.c guest/work/cycle.c guest/work/die.c \
	guest/work/echo.c guest/work/end.c guest/work/exits.c guest/work/inject.c guest/work/inner.c guest/work/inner_sipi.c \
	guest/work/inner_loop.S guest/work/modes.S guest/work/ping.c guest/work/smp.c \
	guest/work/smp_irq.c guest/work/smp_post.c guest/work/smp_storm.c guest/work/state.c guest/work/states.c guest/work/switch.c guest/work/torture.c guest/work/torture_nic.c guest/work/torture_page.c \
	guest/work/torture_post.c guest/work/torture_vmx.c \
	guest/work/torture_virtio.c guest/work/torture_virtio_ctrl.c guest/work/torture_virtio_dev.c guest/work/torture_virtio_pci.c \
	guest/work/torture_virtio_race.c guest/work/torture_virtio_regs.c guest/work/inherit.c guest/work/vtivar.c \
	guest/work/mesh.c guest/work/traffic.c guest/work/tscloop.c

# ---- unit tests: tests/unit/test_NAME.c with the product's sources that it links ----

UNIT_TESTS += memmap
UNIT_memmap_SRCS = boot/memmap.c

UNIT_TESTS += multiboot2
UNIT_multiboot2_SRCS = boot/multiboot2.c boot/memmap.c

UNIT_TESTS += guest_ip guest_vf guest_cmdline guest_blast
UNIT_guest_ip_SRCS = guest/net/ip.c
UNIT_guest_vf_SRCS = nic/plugin/igbvf.c
UNIT_guest_cmdline_SRCS = guest/lib/cmdline.c guest/lib/mbi.c
UNIT_guest_blast_SRCS = guest/work/blast_proto.c
UNIT_TESTS += guest_plugin guest_shell
UNIT_guest_plugin_SRCS = guest/net/plugin_load.c
UNIT_guest_shell_SRCS = guest/net/shell.c guest/net/shell_dev.c guest/net/shell_emu.c guest/net/shell_switch.c guest/net/shell_vf.c \
	tests/unit/guest_model/core/x86.h
UNIT_guest_shell_CFLAGS = -Itests/unit/guest_model

# With a clock, ports and cache lines of the test's own: as in iommu below, a directory stands before core/x86.h.
UNIT_TESTS += acpi irq mem pci ptab
UNIT_acpi_SRCS = core/acpi.c core/acpi_tables.c tests/unit/log.c
UNIT_irq_SRCS = core/irq.c core/time.c tests/unit/cpu_model/core/x86.h
UNIT_irq_CFLAGS = -Itests/unit/cpu_model
UNIT_mem_SRCS = core/mem.c tests/unit/log.c
UNIT_pci_SRCS = core/pci.c tests/unit/log.c
UNIT_ptab_SRCS = core/ptab.c tests/unit/vtd_model/core/x86.h
UNIT_ptab_CFLAGS = -Itests/unit/vtd_model

# iommu/ as a whole runs on a model of the hardware: its directory stands before core/x86.h.
UNIT_TESTS += dmar vtd_entries iommu_start iommu_domain iommu_events
UNIT_dmar_SRCS = iommu/dmar.c
IOMMU_MODEL = $(IOMMU_SRCS) core/ptab.c tests/unit/vtd_machine.c tests/unit/vtd_model.c tests/unit/vtd_stubs.c \
	tests/unit/vtd_model/core/x86.h
UNIT_iommu_start_SRCS = $(IOMMU_MODEL)
UNIT_iommu_domain_SRCS = $(IOMMU_MODEL)
UNIT_iommu_events_SRCS = $(IOMMU_MODEL)
UNIT_iommu_start_CFLAGS = -Itests/unit/vtd_model
UNIT_iommu_domain_CFLAGS = -Itests/unit/vtd_model
UNIT_iommu_events_CFLAGS = -Itests/unit/vtd_model

NIC_FAKES := tests/unit/nic_fakes.c tests/unit/trace_off.c core/ptab.c
IGB_UNDER_TEST := nic/igb_conf.c nic/igb_data.c nic/igb_irq.c nic/igb_link.c nic/igb_mbx.c nic/igb_mode.c nic/igb_plugin.c \
	nic/igb_pool.c nic/igb_port.c nic/igb_ring.c nic/igb_scrub.c nic/igb_setup.c nic/igb_state.c nic/igb_vf.c \
	nic/igb_vfreg.c nic/msix.c nic/uplink.c tests/unit/igb_model.c
UNIT_TESTS += igb_conf igb_data igb_external igb_mode igb_pool igb_state igb_vf nic_hc nic_hc_dma nic_hc_irq sriov upstream
UNIT_igb_conf_SRCS = $(IGB_UNDER_TEST) $(NIC_FAKES)
UNIT_igb_data_SRCS = $(IGB_UNDER_TEST) tests/unit/igb_ports.c $(NIC_FAKES)
UNIT_igb_external_SRCS = $(UNIT_igb_data_SRCS)
UNIT_igb_mode_SRCS = $(UNIT_igb_data_SRCS)
UNIT_igb_pool_SRCS = $(IGB_UNDER_TEST) $(NIC_FAKES)
UNIT_igb_state_SRCS = $(IGB_UNDER_TEST) $(NIC_FAKES)
UNIT_igb_vf_SRCS = $(IGB_UNDER_TEST) $(NIC_FAKES)
UNIT_nic_hc_SRCS = nic/nic.c nic/nic_hc.c nic/port.c nic/port_dma.c nic/port_irq.c nic/port_mode.c nic/port_regs.c \
	nic/port_state.c nic/state.c core/vdev.c tests/unit/no_ext.c \
	tests/unit/nic_lower.c $(NIC_FAKES)
UNIT_nic_hc_dma_SRCS = $(UNIT_nic_hc_SRCS)
UNIT_nic_hc_irq_SRCS = $(UNIT_nic_hc_SRCS)
UNIT_sriov_SRCS = nic/sriov.c
UNIT_TESTS += uplink
UNIT_uplink_SRCS = nic/uplink.c
UNIT_upstream_SRCS = nic/upstream.c $(NIC_FAKES)

# The extender's codecs: one set of properties for all.
CODEC_SRCS := nic/ecp.c nic/etag.c nic/lldp.c nic/pe_csp_pdu.c nic/vdp_pdu.c tests/unit/codecs.c
CODEC_TESTS := ecp etag lldp pe_csp_pdu vdp_pdu
UNIT_TESTS += $(CODEC_TESTS)
$(foreach t,$(CODEC_TESTS),$(eval UNIT_$(t)_SRCS = $(CODEC_SRCS)))

UNIT_TESTS += extender ecp_link
UNIT_extender_SRCS = nic/etag.c nic/extender.c
UNIT_ecp_link_SRCS = nic/ecp.c nic/ecp_link.c nic/lldp_agent.c
# Chains of extenders with both engines, on a wire with the model of a controlling bridge.
CHAIN_UNDER_TEST := nic/ecp.c nic/ecp_link.c nic/etag.c nic/extender.c nic/lldp.c nic/lldp_agent.c nic/pe_csp.c nic/pe_csp_pdu.c \
	nic/vdp.c nic/vdp_pdu.c tests/unit/bridge_model.c tests/unit/bridge_vdp.c tests/unit/chain_model.c
UNIT_TESTS += pe_csp vdp vdp_moved
UNIT_pe_csp_SRCS = $(CHAIN_UNDER_TEST)
UNIT_vdp_SRCS = $(CHAIN_UNDER_TEST)
UNIT_vdp_moved_SRCS = $(CHAIN_UNDER_TEST)

UNIT_TESTS += port_ext port_ext_bad
UNIT_port_ext_SRCS = nic/nic.c nic/nic_hc.c $(filter nic/port%,$(NIC_SRCS)) nic/state.c core/vdev.c $(filter-out %/chain_model.c,$(CHAIN_UNDER_TEST)) \
	tests/unit/ext_model.c tests/unit/cpu_model/core/x86.h $(NIC_FAKES)
UNIT_port_ext_CFLAGS = -Itests/unit/cpu_model
UNIT_port_ext_bad_SRCS = $(UNIT_port_ext_SRCS)
UNIT_port_ext_bad_CFLAGS = $(UNIT_port_ext_CFLAGS)

UNIT_TESTS += state port_mode
UNIT_state_SRCS = nic/state.c
UNIT_port_mode_SRCS = nic/port_mode.c nic/port_state.c nic/state.c tests/unit/no_ext.c tests/unit/log.c

# The emulated device, in a VM with a lower link that records; no library in the model, for tests/fuzz has it, too.
VNET_UNDER_TEST := nic/virtq_dev.c nic/vnet.c nic/vnet_ctrl.c nic/vnet_msix.c nic/vnet_pci.c nic/vnet_regs.c nic/vnet_rx.c nic/vnet_tx.c \
	core/vdev.c core/vpci.c tests/unit/no_ext.c tests/unit/vnet_model.c
UNIT_TESTS += virtq vnet vnet_bad vnet_pci
UNIT_virtq_SRCS = $(VNET_UNDER_TEST)
UNIT_vnet_SRCS = $(VNET_UNDER_TEST)
UNIT_vnet_bad_SRCS = $(VNET_UNDER_TEST)
UNIT_vnet_pci_SRCS = $(VNET_UNDER_TEST)

# Our drivers of the emulated device, on the real one: a directory stands before core/x86.h, so that registers are its own.
VIRTIO_MACHINE := nic/virtq_dev.c nic/vnet.c nic/vnet_ctrl.c nic/vnet_msix.c nic/vnet_pci.c nic/vnet_regs.c nic/vnet_rx.c \
	nic/vnet_tx.c core/vdev.c core/vpci.c tests/unit/no_ext.c tests/unit/virtio_machine.c tests/unit/virtio_model/core/x86.h
UNIT_TESTS += virtq_drv guest_virtio upstream_data
UNIT_guest_virtio_SRCS = guest/net/pci.c guest/net/virtio_plugin.c $(VIRTIO_MACHINE)
UNIT_guest_virtio_CFLAGS = -Itests/unit/virtio_model
UNIT_upstream_data_SRCS = nic/upstream_data.c nic/upstream_dev.c nic/msix.c core/pci.c $(VIRTIO_MACHINE)
UNIT_upstream_data_CFLAGS = -Itests/unit/virtio_model

# What a VM is made of, on fakes of memory, console and outer.
CORE_FAKES := tests/unit/core_fakes.c
LOADER_SRCS := core/loader.c core/loader_elf.c core/loader_mb1.c core/loader_mb2.c
VDEV_SRCS := core/vdev.c core/vuart.c core/vioapic.c core/vpci.c core/vmisc.c core/vpic.c
UNIT_TESTS += bundle config insn loader loader_bad hypercall vdev vm
UNIT_bundle_SRCS = core/bundle.c $(CORE_FAKES)
UNIT_config_SRCS = core/config.c core/config_value.c $(CORE_FAKES)
UNIT_insn_SRCS = core/insn.c core/insn_emulate.c
UNIT_loader_SRCS = $(LOADER_SRCS) tests/unit/loader_kernels.c $(CORE_FAKES)
UNIT_loader_bad_SRCS = $(UNIT_loader_SRCS)
UNIT_TESTS += nic_sections
UNIT_nic_sections_SRCS = nic/nic.c $(CORE_FAKES)
UNIT_hypercall_SRCS = core/hypercall.c tests/unit/trace_off.c
UNIT_vdev_SRCS = $(VDEV_SRCS) $(CORE_FAKES)
UNIT_vm_SRCS = core/acpi_tables.c core/bundle.c core/hypercall.c core/ptab.c core/report.c core/report_print.c core/vacpi.c \
	core/vm.c core/vm_mem.c tests/unit/trace_off.c $(LOADER_SRCS) $(VDEV_SRCS) $(CORE_FAKES)

UNIT_TESTS += trace
UNIT_trace_SRCS = core/trace.c tests/unit/cpu_model/core/x86.h $(CORE_FAKES)
UNIT_trace_CFLAGS = -Itests/unit/cpu_model

UNIT_TESTS += monitor
UNIT_monitor_SRCS = core/acpi_tables.c core/ioapic.c core/monitor.c $(VDEV_SRCS) $(CORE_FAKES)

UNIT_TESTS += nested_fields nested_merge nested_checks
UNIT_nested_fields_SRCS = vmx/nested_fields.c vmx/nested_cap.c
UNIT_nested_merge_SRCS = vmx/nested_merge.c vmx/nested_fields.c vmx/nested_cap.c
UNIT_nested_checks_SRCS = vmx/nested_check_ctl.c vmx/nested_check_host.c vmx/nested_check_guest.c \
	vmx/nested_check_plain.c vmx/nested_fields.c vmx/nested_cap.c
UNIT_TESTS += nested_ept nested_vpid nested_park
UNIT_nested_vpid_SRCS = vmx/nested_vpid.c
UNIT_nested_ept_SRCS = vmx/nested_chain.c vmx/nested_ept.c vmx/nested_ept12.c vmx/nested_premap.c vmx/nested_vpid.c \
	vmx/nested_fields.c vmx/nested_cap.c core/ptab.c tests/unit/nested_ram.c
UNIT_nested_park_SRCS = vmx/nested_park.c $(UNIT_nested_ept_SRCS)
# The engine as a whole, on a model of the processor: a directory stands before core/x86.h and vmx/vmx_insn.h.
NESTED_MACHINE := $(filter vmx/nested_%,$(VMX_SRCS)) vmx/cr.c vmx/posting.c vmx/vlapic.c vmx/vmcs.c core/ptab.c tests/conform/base.c \
	tests/unit/nested_machine.c tests/unit/nested_ram.c tests/unit/nested_actions.c tests/unit/log.c tests/unit/trace_off.c tests/unit/vmx_model/core/x86.h tests/unit/vmx_model/vmx/vmx_insn.h
NESTED_MACHINE_TESTS := nested_insn nested_operand nested_entry nested_exit nested_cr nested_irq nested_page nested_chain nested_chain_events posting
UNIT_TESTS += $(NESTED_MACHINE_TESTS)
$(foreach t,$(NESTED_MACHINE_TESTS),$(eval UNIT_$(t)_SRCS = $(NESTED_MACHINE))$(eval UNIT_$(t)_CFLAGS = -Itests/unit/vmx_model))
UNIT_TESTS += sched
UNIT_sched_SRCS = vmx/sched.c tests/unit/cpu_model/core/x86.h
UNIT_sched_CFLAGS = -Itests/unit/cpu_model
UNIT_TESTS += vlapic_regs
UNIT_vlapic_regs_SRCS = vmx/vlapic.c vmx/vlapic_regs.c tests/unit/vmx_model/core/x86.h tests/unit/vmx_model/vmx/vmx_insn.h
UNIT_vlapic_regs_CFLAGS = -Itests/unit/vmx_model
UNIT_TESTS += nested_check_rows nested_check_random
UNIT_nested_check_random_SRCS = $(UNIT_nested_checks_SRCS) tests/conform/base.c tests/conform/random_state.c tests/conform/validate.c
UNIT_nested_check_rows_SRCS = $(UNIT_nested_checks_SRCS) tests/conform/base.c tests/conform/vectors_ctl.c \
	tests/conform/vectors_inject.c tests/conform/vectors_host.c tests/conform/vectors_guest.c tests/conform/vectors_segment.c \
	tests/conform/vectors_state.c

# On the CPU model, too: MSRs are an x2APIC of the test's own.
UNIT_TESTS += apic
UNIT_apic_SRCS = core/apic.c tests/unit/log.c tests/unit/cpu_model/core/x86.h
UNIT_apic_CFLAGS = -Itests/unit/cpu_model

# ---- fuzzing: tests/fuzz/fuzz_NAME.c, with clang's libFuzzer ----

FUZZ_TESTS := extender state vnet
FUZZ_extender_SRCS = $(filter nic/%,$(CHAIN_UNDER_TEST)) tests/fuzz/panic.c
FUZZ_state_SRCS = $(IGB_UNDER_TEST) $(NIC_FAKES) nic/state.c
FUZZ_vnet_SRCS = $(VNET_UNDER_TEST)
# What the wire brings: small and quick, so they get more inputs.
FUZZ_CODECS := $(CODEC_TESTS)
$(foreach t,$(FUZZ_CODECS),$(eval FUZZ_$(t)_SRCS = $(CODEC_SRCS) tests/fuzz/panic.c))

# What tshark reads: a frame of every class that the codecs make.
FRAMES_PROGRAM = $(B)/unit/frames

# ---- flags ----

WARN = -Wall -Wextra -Wshadow -Wmissing-prototypes -Werror
# Tables of firmware and hardware are read through casts, hence no strict aliasing. No SSE: guests own the registers.
CFLAGS = -std=gnu11 -O2 -g $(WARN) -ffreestanding -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pic \
	-fno-stack-protector -fcf-protection=none -fno-omit-frame-pointer -fno-strict-aliasing \
	-fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections -ffile-prefix-map=$(CURDIR)=.
NEWLIB = build/newlib
# newlib first, then the compiler's own headers; nothing of the host's C library.
INCLUDE = -I. -nostdinc -isystem $(NEWLIB)/include -isystem $$($(CC) -print-file-name=include) -U__linux__
ASFLAGS = -g -I. -ffile-prefix-map=$(CURDIR)=.
LDFLAGS = -nostdlib -static -Wl,--gc-sections -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--build-id=none

EFI_CFLAGS = -std=gnu11 -O2 -g $(WARN) -ffreestanding -fpic -fshort-wchar -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fcf-protection=none -fno-strict-aliasing -fno-asynchronous-unwind-tables \
	-ffile-prefix-map=$(CURDIR)=. -DGNU_EFI_USE_MS_ABI
EFI_INCLUDE = -I. -nostdinc -isystem $$($(CC) -print-file-name=include) -isystem /usr/include/efi \
	-isystem /usr/include/efi/x86_64 -isystem /usr/include -isystem /usr/include/x86_64-linux-gnu
EFI_SECTIONS = .text .sdata .data .rodata .dynamic .dynsym .rel .rela '.rel.*' '.rela.*' .reloc

UNIT_CFLAGS = -std=gnu11 -O1 -g $(WARN) -fno-strict-aliasing -fsanitize=address,undefined -fno-sanitize-recover=all -I. \
	-DNESTLING_HOST_TEST
FUZZ_RUNS = 20000
FUZZ_RUNS_LONG = 1000000
FUZZ_CODEC_RUNS = $(FUZZ_RUNS)
FUZZ_CODEC_RUNS_LONG = 2500000

# ---- what to do ----

.PHONY: all help setup run test test-long check coverage bench image clean distclean both unit fuzz sizes FORCE
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS := $(MAKEFLAGS) -rR $(if $(filter 0,$(MAKELEVEL)),-j$(shell nproc))

all: $(B)/nestling.elf $(B)/nestling.efi $(if $(GUEST_SRCS),$(B)/guest.elf) ## build everything (default)

# tests/setup.sh writes build/setup.mk when it has made or found everything; make then starts over with what it says:
# GNU_EFI, the folder of gnu-efi's start code. It is asked each time, and answers at once when nothing is missing.
ifneq ($(filter-out help clean distclean,$(or $(MAKECMDGOALS),all)),)
include build/setup.mk
build/setup.mk: FORCE
	@tests/setup.sh
FORCE:
endif

-include tests/machine/rules.mk
-include tests/linux/rules.mk

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  Options of make run: DEPTH=n  CPUS=n  MACHINE=cosim|qemu|kvm  BUNDLE=directory or cpio'
	@echo '                       GUEST=kernel.elf GUEST_CMDLINE="..." GUEST_MODULES="a b"'
	@echo '                       TRACE=1 (what every level did, in exact order, as text)'
	@echo '                       SCENARIO=switch (a Linux ping through twenty switches), or any name of python3 tests/run.py --list'
	@echo '  make test JOBS=2 runs two machines at a time, as far as there is memory for them; else one, and beside it those that mostly wait.'
	@echo '  make CC=clang builds with clang into build/clang.'

setup: ## install and build what the machine lacks (every other target does it, too)

# Options of the main run reach tests/main_run.py as environment variables.
export DEPTH CPUS MACHINE GUEST GUEST_CMDLINE GUEST_MODULES BUNDLE SCENARIO TRACE

run: all machine ## boot Nestling in Nestling with a guest on a virtual function, and print the table
	@python3 tests/main_run.py

UNIT_PROGRAMS = $(UNIT_TESTS:%=$(B)/unit/test_%)
FUZZ_CODEC_PROGRAMS = $(FUZZ_CODECS:%=build/fuzz/fuzz_%)
FUZZ_PROGRAMS = $(FUZZ_TESTS:%=build/fuzz/fuzz_%) $(FUZZ_CODEC_PROGRAMS)
# The unit tests that link the nested engine, once more: without ASan, with counters.
COVERAGE_TESTS = $(foreach t,$(UNIT_TESTS),$(if $(filter vmx/nested_%,$(UNIT_$(t)_SRCS)),$(t)))
COVERAGE_PROGRAMS = $(COVERAGE_TESTS:%=build/coverage/test_%)
COVERAGE = python3 tests/unit/coverage.py --goal $(COVERAGE_GOAL) vmx/nested_ $(COVERAGE_PROGRAMS)
COVERAGE_GOAL = 95
QUICK_TESTS = 'python3 tests/style.py' 'python3 tests/unit/run.py $(UNIT_PROGRAMS)' '$(COVERAGE)' \
	'python3 tests/fuzz/run.py $(FUZZ_RUNS) $(filter-out $(FUZZ_CODEC_PROGRAMS),$(FUZZ_PROGRAMS))' \
	'python3 tests/fuzz/run.py $(FUZZ_CODEC_RUNS) $(FUZZ_CODEC_PROGRAMS)' 'python3 tests/machine/test_machine.py' \
	'python3 tests/test_trace.py' 'python3 tests/frames/test_frames.py $(FRAMES_PROGRAM) $(FRAMES_PROGRAM).pcap' \
	'python3 tests/peers/test_peers.py'
BRIDGE_TEST = 'python3 tests/peers/test_bridge.py'

# Machines at a time: each keeps one processor busy.
JOBS ?= 1

test: both $(UNIT_PROGRAMS) $(COVERAGE_PROGRAMS) $(FUZZ_PROGRAMS) $(FRAMES_PROGRAM) machine linux ## all tests: style, unit tests, scenarios on the test machine
	@python3 tests/total.py $(QUICK_TESTS) $(BRIDGE_TEST) 'python3 tests/run.py --jobs $(JOBS)'

test-long: FUZZ_RUNS = $(FUZZ_RUNS_LONG)
test-long: FUZZ_CODEC_RUNS = $(FUZZ_CODEC_RUNS_LONG)
test-long: both $(UNIT_PROGRAMS) $(COVERAGE_PROGRAMS) $(FUZZ_PROGRAMS) $(FRAMES_PROGRAM) machine linux ## the same with the scenarios that take long
	@python3 tests/total.py $(QUICK_TESTS) $(BRIDGE_TEST) 'python3 tests/run.py --long --jobs $(JOBS)'

.PHONY: linux
linux: $(LINUX_PARTS)

check: both $(UNIT_PROGRAMS) $(COVERAGE_PROGRAMS) $(FUZZ_PROGRAMS) $(FRAMES_PROGRAM) sizes ## quick: gcc and clang builds, unit tests, style, sizes
	@python3 tests/total.py $(QUICK_TESTS)

unit: $(UNIT_PROGRAMS) ## unit tests only
	@python3 tests/unit/run.py $(UNIT_PROGRAMS)

coverage: $(COVERAGE_PROGRAMS) ## lines of vmx/nested_* that the unit tests run; build/coverage/*.gcov shows which
	@$(COVERAGE)

fuzz: $(FUZZ_PROGRAMS) ## libFuzzer on what guests and the wire hand us; FUZZ_RUNS=inputs for each program
	@python3 tests/fuzz/run.py $(FUZZ_RUNS) $(FUZZ_PROGRAMS)

both: all
	@$(MAKE) --no-print-directory CC=clang B=build/clang all

bench: all machine ## exact counts (exits, instructions, sizes); compare with tests/bench.txt
	@python3 tests/bench.py

image: all ## build/image/nestling.img (UEFI disk) and nestling.iso (GRUB, BIOS and UEFI); BUNDLE= chooses the bundle
	@tests/mkimage.sh $(B) build/image

sizes: $(B)/nestling.elf
	@for d in boot core vmx iommu nic; do cat /dev/null $$d/*.[chS] 2> /dev/null | wc -l | xargs echo "lines $$d:"; done
	@cat boot/*.[chS] core/*.[chS] vmx/*.[chS] iommu/*.[chS] nic/*.[chS] 2> /dev/null | wc -l | xargs echo "lines trusted:"
	@stat -c 'bytes %n: %s' $(B)/nestling.elf

clean: ## remove what was built; the trixie root and newlib stay
	rm -rf build/obj build/unit build/coverage build/clang build/image build/run build/machine build/nestling.* build/guest.* build/conform*

distclean: ## remove build/ altogether
	rm -rf --one-file-system build

# ---- the hypervisor ----

KERNEL_SRCS = $(BOOT_SRCS) $(CORE_SRCS) $(VMX_SRCS) $(IOMMU_SRCS) $(NIC_SRCS)
objects = $(patsubst %.S,$(B)/obj/$(2)%.S.o,$(patsubst %.c,$(B)/obj/$(2)%.o,$(1)))
KERNEL_OBJS = $(call objects,$(KERNEL_SRCS))
LINK = $(CC) $(LDFLAGS) -Wl,-T,linker.ld -o $@ $(filter %.o,$^) $(NEWLIB)/libc.a

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CFLAGS) $(INCLUDE) -MMD -MP -c -o $@ $<

$(B)/obj/%.S.o: %.S
	@mkdir -p $(@D)
	@echo "  AS      $<"
	@$(CC) $(ASFLAGS) -MMD -MP -c -o $@ $<

# The symbol table of backtraces is made from a first link and lies behind all code, so the second moves no function.
$(B)/obj/symbols0.S: core/symbols.awk
	@mkdir -p $(@D)
	@awk -f $< < /dev/null > $@
$(B)/obj/symbols1.S: $(B)/obj/nestling.pass1 core/symbols.awk
	@nm -n $< | awk -f core/symbols.awk > $@
$(B)/obj/symbols0.o $(B)/obj/symbols1.o: %.o: %.S
	@$(CC) -c -o $@ $<
$(B)/obj/nestling.pass1: $(KERNEL_OBJS) $(B)/obj/symbols0.o linker.ld
	@$(LINK)
$(B)/nestling.debug: $(KERNEL_OBJS) $(B)/obj/symbols1.o linker.ld
	@echo "  LD      $@"
	@$(LINK)
	@nm -n $@ | awk -f core/symbols.awk | cmp - $(B)/obj/symbols1.S
$(B)/nestling.elf: $(B)/nestling.debug
	@objcopy --strip-all $< $@

# ---- plugins: flat images that the hypervisor carries and hands to guests (core/plugin.h) ----

PLUGIN_CFLAGS = -std=gnu11 -O2 -g $(WARN) -ffreestanding -fpie -fvisibility=hidden -mcmodel=small -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fcf-protection=none -fno-jump-tables -fno-strict-aliasing -fno-asynchronous-unwind-tables \
	-ffile-prefix-map=$(CURDIR)=.
PLUGIN_OBJS = $(call objects,nic/plugin/header.S) $(call objects,nic/plugin/igbvf.c,plugin/)

$(B)/obj/plugin/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $< (plugin)"
	@$(CC) $(PLUGIN_CFLAGS) $(INCLUDE) -MMD -MP -c -o $@ $<
$(B)/obj/seal: nic/plugin/seal.c core/plugin.h core/crc32.h
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 $(WARN) -I. -o $@ $<
# plugin.ld ends the link where data or relocations are left.
$(B)/igbvf.plugin: $(PLUGIN_OBJS) nic/plugin/plugin.ld $(B)/obj/seal
	@echo "  LD      $@"
	@ld -pie --no-dynamic-linker -z noexecstack -e 0 -T nic/plugin/plugin.ld -o $(B)/obj/igbvf.plugin.elf $(PLUGIN_OBJS)
	@objcopy -O binary -j .image $(B)/obj/igbvf.plugin.elf $@
	@$(B)/obj/seal $@
$(B)/obj/nic/plugin_igbvf.S.o: nic/plugin_igbvf.S $(B)/igbvf.plugin
	@mkdir -p $(@D)
	@$(CC) -DPLUGIN='"$(B)/igbvf.plugin"' -c -o $@ $<

# ---- the EFI loader ----

EFI_OBJS = $(call objects,$(EFI_SRCS),efi/)

$(B)/obj/efi/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $< (EFI)"
	@$(CC) $(EFI_CFLAGS) $(EFI_INCLUDE) -MMD -MP -c -o $@ $<

$(B)/obj/efi/boot/efi_payload.S.o: boot/efi_payload.S $(B)/nestling.elf
	@mkdir -p $(@D)
	@$(CC) -DPAYLOAD='"$(B)/nestling.elf"' -c -o $@ $<

$(B)/nestling.efi: $(EFI_OBJS)
	@echo "  LD      $@"
	@ld -nostdlib -znocombreloc -shared -Bsymbolic -z noexecstack -T $(GNU_EFI)/elf_x86_64_efi.lds \
		$(GNU_EFI)/crt0-efi-x86_64.o $^ -L $(GNU_EFI) -L /usr/lib -lefi -lgnuefi -o $(B)/obj/nestling.so
	@objcopy $(addprefix -j ,$(EFI_SECTIONS)) --target efi-app-x86_64 --subsystem=10 $(B)/obj/nestling.so $@

# ---- the guest ----

GUEST_OBJS = $(call objects,$(GUEST_SRCS))

$(B)/guest.debug: $(GUEST_OBJS) guest/guest.ld
	@echo "  LD      $@"
	@$(CC) $(LDFLAGS) -Wl,-T,guest/guest.ld -o $@ $(GUEST_OBJS) $(NEWLIB)/libc.a
$(B)/guest.elf: $(B)/guest.debug
	@objcopy --strip-all $< $@

include tests/conform/rules.mk

# ---- unit tests ----

HEADERS := $(wildcard */*.h */*/*.h)

define unit_rule
$(B)/unit/test_$(1): tests/unit/test_$(1).c tests/unit/panic.c $(UNIT_$(1)_SRCS) $(HEADERS)
	@mkdir -p $$(@D)
	@echo "  CC      $$<"
	@$(CC) $(UNIT_$(1)_CFLAGS) $(UNIT_CFLAGS) -o $$@ $$(filter %.c,$$^) -lcmocka
endef
$(foreach t,$(UNIT_TESTS),$(eval $(call unit_rule,$(t))))

# gcc names the files of counters after program and source.
COVERAGE_CFLAGS = $(filter-out -O1 -fsanitize=% -fno-sanitize-recover=%,$(UNIT_CFLAGS)) -O0 --coverage
define coverage_rule
build/coverage/test_$(1): tests/unit/test_$(1).c tests/unit/panic.c $(UNIT_$(1)_SRCS) $(HEADERS)
	@mkdir -p $$(@D)
	@rm -f $$@-*.gcda $$@-*.gcno
	@echo "  COVER   $$<"
	@gcc $(UNIT_$(1)_CFLAGS) $(COVERAGE_CFLAGS) -o $$@ $$(filter %.c,$$^) -lcmocka
endef
$(foreach t,$(COVERAGE_TESTS),$(eval $(call coverage_rule,$(t))))

define fuzz_rule
build/fuzz/fuzz_$(1): tests/fuzz/fuzz_$(1).c $(FUZZ_$(1)_SRCS) $(HEADERS)
	@mkdir -p $$(@D)
	@echo "  FUZZ    $$<"
	@clang $(UNIT_CFLAGS) -fsanitize=fuzzer -o $$@ $$(filter %.c,$$^)
endef
$(foreach t,$(FUZZ_TESTS) $(FUZZ_CODECS),$(eval $(call fuzz_rule,$(t))))

$(FRAMES_PROGRAM): tests/frames/frames.c $(CODEC_SRCS) $(HEADERS)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(UNIT_CFLAGS) -o $@ $(filter %.c,$^)

-include $(patsubst %.o,%.d,$(KERNEL_OBJS) $(PLUGIN_OBJS) $(EFI_OBJS) $(GUEST_OBJS))
