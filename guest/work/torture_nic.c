/*
 * NIC hypercalls with arguments that must be refused, and registers of the VF that are not the guest's. What an error number
 * must be where core/abi.h names it is checked exactly; elsewhere it must be an error.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "nic/plugin/igbvf_regs.h"
#include "guest/net/port.h"
#include "guest/work/work.h"

#define OUTSIDE (1ull << 39)  /* no VM of ours has memory there */
#define NOT_A_HANDLE 0x7fffff00ull
#define FIRST_HANDLE 0x101 /* what the first opening of a VM's first port gives */
#define IOVA_FREE 0x40000000ull
#define LINK_WAIT_US 30000000

static u8 page[2 * PAGE_SIZE] __aligned_to(PAGE_SIZE);

static struct nest_nic_dma range(u64 iova, u64 gpa, u64 len)
{
	return (struct nest_nic_dma){ .iova = iova, .gpa = gpa, .len = len, .perm = NEST_DMA_READ | NEST_DMA_WRITE };
}

/* Every call on a handle that does not exist. */
static u32 no_such_handle(u64 h, const char *why)
{
	struct nest_nic_dma d = range(IOVA_FREE, (u64)page, PAGE_SIZE);
	struct nest_nic_irq irq = { .vector = 0x50, .apic_id = apic_id(), .pi_gpa = ~0ull };
	struct nest_nic_conf conf = { .what = NEST_CONF_MAX_FRAME, .max_frame = 1514 };
	struct nest_nic_stats stats;
	static struct nest_nic_state state;
	const struct { const char *call; s64 result; } all[] = {
		{ "configure", port_configure(h, &conf) }, { "map-regs", port_map_regs(h, memory_device_window()) },
		{ "unmap-regs", port_unmap_regs(h) }, { "dma-map", port_dma_map(h, &d, 1) },
		{ "dma-unmap", port_dma_unmap(h, &d, 1) }, { "irq-set", port_irq_set(h, 0, &irq) },
		{ "irq-mask", port_irq_mask(h, 0, 1) }, { "irq-clear", port_irq_clear(h, 0) },
		{ "stats", port_stats(h, &stats) }, { "reg-read", port_reg_read(h, VF_STATUS) },
		{ "reg-write", port_reg_write(h, VF_CTRL, 0) }, { "quiesce", port_quiesce(h) },
		{ "resume", port_resume(h) }, { "save", port_save(h, &state) },
		{ "restore", port_restore(h, &state) }, { "free", port_free(h) },
	};
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		char name[64];
		sniprintf(name, sizeof(name), "handle-%s-%s", why, all[i].call);
		failed += work_check_result(all[i].result, -ENOENT, name);
	}
	return failed;
}

static u32 bad_windows(u64 h)
{
	u64 good = memory_device_window();
	u32 failed = 0;

	failed += work_check_result(port_map_regs(h, good + PAGE_SIZE), -EINVAL, "map-regs-misaligned");
	failed += work_check_result(port_map_regs(h, ALIGN_DOWN((u64)page, 0x4000)), -EINVAL, "map-regs-over-ram");
	failed += work_check_result(port_map_regs(h, 0xfee00000), -EINVAL, "map-regs-over-the-local-apic");
	failed += work_check_result(port_map_regs(h, ~0x3fffull), -EINVAL, "map-regs-at-the-top");
	failed += work_check_result(port_map_regs(h, good), 0, "map-regs");
	failed += work_check_result(port_map_regs(h, good + 0x4000), -EEXIST, "map-regs-twice");
	return failed;
}

static u32 bad_dma_range(u64 h, struct nest_nic_dma d, s64 want, const char *name)
{
	return work_check_result(port_dma_map(h, &d, 1), want, name);
}

/* Refused, whatever the reason given. */
static u32 bad_dma_any(u64 h, struct nest_nic_dma d, const char *name)
{
	return work_check(port_dma_map(h, &d, 1) < 0, name);
}

static u32 bad_dma(u64 h)
{
	struct nest_nic_dma good = range(IOVA_FREE, (u64)page, PAGE_SIZE), other = range(IOVA_FREE + PAGE_SIZE, (u64)page, PAGE_SIZE);
	struct nest_nic_dma list[NEST_DMA_MAX] = { other, range(IOVA_FREE + 2 * PAGE_SIZE, OUTSIDE, PAGE_SIZE) };
	u64 ram = memory_top();
	u32 failed = 0;

	failed += bad_dma_range(h, range(IOVA_FREE, OUTSIDE, PAGE_SIZE), -EFAULT, "dma-map-outside-memory");
	failed += bad_dma_range(h, range(IOVA_FREE, memory_device_window(), PAGE_SIZE), -EFAULT, "dma-map-device-registers");
	failed += bad_dma_range(h, range(IOVA_FREE, (u64)page, ALIGN_UP(ram, PAGE_SIZE)), -EFAULT, "dma-map-past-the-end");
	failed += bad_dma_any(h, (struct nest_nic_dma){ IOVA_FREE, (u64)page, ~0ull, 3, 0 }, "dma-map-huge-length");
	failed += bad_dma_any(h, (struct nest_nic_dma){ IOVA_FREE, (u64)page, 1ull << 63, 3, 0 }, "dma-map-wrap");
	failed += bad_dma_range(h, range(IOVA_FREE, (u64)page, 0), -EINVAL, "dma-map-empty");
	failed += bad_dma_range(h, range(IOVA_FREE + 1, (u64)page, PAGE_SIZE), -EINVAL, "dma-map-misaligned-iova");
	failed += bad_dma_range(h, range(IOVA_FREE, (u64)page + 16, PAGE_SIZE), -EINVAL, "dma-map-misaligned-gpa");
	failed += bad_dma_range(h, range(IOVA_FREE, (u64)page, 100), -EINVAL, "dma-map-misaligned-length");
	failed += bad_dma_range(h, range(0xfee00000, (u64)page, PAGE_SIZE), -EINVAL, "dma-map-interrupt-range");
	failed += bad_dma_any(h, (struct nest_nic_dma){ ~0xfffull, (u64)page, PAGE_SIZE, 3, 0 }, "dma-map-iova-top");
	failed += bad_dma_any(h, (struct nest_nic_dma){ IOVA_FREE, (u64)page, PAGE_SIZE, 0xfc, 0 }, "dma-map-permissions");
	failed += work_check_result(port_dma_map(h, list, NEST_DMA_MAX + 1), -EINVAL, "dma-map-list-too-long");
	failed += work_check_result(port_dma_map(h, list, ~0ull), -EINVAL, "dma-map-list-huge");
	failed += work_check_result(port_dma_map(h, list, 2), -EFAULT, "dma-map-second-is-bad");
	failed += work_check_result(port_dma_map(h, &other, 1), 0, "dma-map-all-or-nothing");
	failed += work_check_result(port_dma_map(h, &good, 1), 0, "dma-map");
	failed += work_check_result(port_dma_map(h, &good, 1), -EEXIST, "dma-map-twice");
	failed += work_check_result(port_dma_unmap(h, &good, 1), 0, "dma-unmap");
	failed += work_check(port_dma_unmap(h, &good, 1) < 0, "dma-unmap-twice");
	failed += work_check_result(port_dma_unmap(h, &other, 1), 0, "dma-unmap-other");
	return failed;
}

static u32 bad_irqs(u64 h)
{
	struct nest_nic_irq good = { .vector = 0x50, .apic_id = apic_id(), .pi_gpa = ~0ull }, irq;
	u32 failed = 0;

	failed += work_check_result(port_irq_set(h, 3, &good), -EINVAL, "irq-set-index");
	failed += work_check_result(port_irq_set(h, ~0ull, &good), -EINVAL, "irq-set-index-huge");
	irq = good, irq.vector = 15;
	failed += work_check_result(port_irq_set(h, 0, &irq), -EINVAL, "irq-set-vector-15");
	irq = good, irq.vector = 256;
	failed += work_check_result(port_irq_set(h, 0, &irq), -EINVAL, "irq-set-vector-256");
	irq = good, irq.apic_id = 9999;
	failed += work_check_result(port_irq_set(h, 0, &irq), -EINVAL, "irq-set-no-such-cpu");
	irq = good, irq.pi_gpa = OUTSIDE, irq.pi_vector = 0x50;
	failed += work_check_result(port_irq_set(h, 0, &irq), -EFAULT, "irq-set-descriptor-outside");
	failed += work_check(port_irq_mask(h, 3, 1) < 0, "irq-mask-index");
	failed += work_check(port_irq_clear(h, 7) < 0, "irq-clear-index");
	return failed;
}

/* Page 0 is trapped: nothing written there may take effect on the device or end us. */
static u32 forbidden_registers(u64 h)
{
	static const u32 wild[] = { 0x0004, 0x0018, 0x0020, 0x0f10, 0x0f0c, 0x0ffc, 0x0c00 };
	volatile u8 *regs = (volatile u8 *)memory_device_window();
	u32 failed = 0;

	/* Autonegotiation may still be under way; afterwards STATUS stands still. */
	failed += work_check(clock_wait(vf_read(regs, VF_STATUS) & VF_STATUS_LU, LINK_WAIT_US), "link-up");
	u32 status = vf_read(regs, VF_STATUS);
	for (u32 i = 0; i < ARRAY_SIZE(wild); i++)
		vf_write(regs, wild[i], ~0u);
	mmio_write64(regs + VF_GPRC, ~0ull);
	mmio_write8(regs + VF_STATUS, 0xff);
	failed += work_check(vf_read(regs, VF_STATUS) == status, "page0-status-not-writable");
	failed += work_check(vf_read(regs, VF_GPRC) != ~0u, "page0-statistics-not-writable");
	failed += work_check_result(port_reg_write(h, VF_STATUS, 0), -EPERM, "reg-write-status");
	failed += work_check_result(port_reg_write(h, VF_GPRC, 0), -EPERM, "reg-write-statistics");
	failed += work_check_result(port_reg_read(h, VF_STATUS), (s64)status, "reg-read-status");
	failed += work_check_result(port_reg_read(h, 0x1000), -EINVAL, "reg-read-page-1");
	failed += work_check_result(port_reg_read(h, ~0ull), -EINVAL, "reg-read-huge");
	failed += work_check_result(port_reg_read(h, 2), -EINVAL, "reg-read-misaligned");
	failed += work_check_result(port_reg_write(h, 0x3818, 1), -EINVAL, "reg-write-page-3");
	return failed;
}

static u32 bad_conf(u64 h, struct nest_nic_conf conf, s64 want, const char *name)
{
	return work_check_result(port_configure(h, &conf), want, name);
}

/* What policy forbids, and records that make no sense. */
static u32 bad_configuration(u64 h)
{
	struct nest_nic_conf huge = { .what = NEST_CONF_MAX_FRAME, .max_frame = ~0u };
	struct nest_nic_conf group = { .what = NEST_CONF_MAC, .mac = { 1, 0, 0x5e, 0, 0, 1 } };
	struct nest_nic_conf vlan = { .what = NEST_CONF_VLAN, .vlan = 4095 };
	u32 failed = work_check(port_configure(h, &huge) < 0, "configure-huge-frames") +
		     work_check(port_configure(h, &group) < 0, "configure-group-mac") +
		     work_check(port_configure(h, &vlan) < 0, "configure-vlan-4095");

	failed += bad_conf(h, (struct nest_nic_conf){ .what = 1u << 31 }, -EINVAL, "configure-unknown-bit");
	failed += bad_conf(h, (struct nest_nic_conf){ .what = NEST_CONF_ALL + 1 }, -EINVAL, "configure-next-bit");
	failed += bad_conf(h, (struct nest_nic_conf){ .what = NEST_CONF_GROUPS, .nr_groups = NEST_MAX_GROUPS + 1 }, -EINVAL,
			   "configure-too-many-groups");
	failed += bad_conf(h, (struct nest_nic_conf){ .what = NEST_CONF_GROUPS, .nr_groups = ~0u }, -EINVAL, "configure-groups-huge");
	failed += bad_conf(h, (struct nest_nic_conf){ .what = NEST_CONF_PROMISC, .flags = NEST_CONF_FLAG_PROMISC }, -EPERM,
			   "configure-promiscuous");
	failed += bad_conf(h, (struct nest_nic_conf){ .what = NEST_CONF_RSS, .rss_types = ~0u }, -ENOTSUP, "configure-rss");
	struct nest_nic_conf unicast = { .what = NEST_CONF_GROUPS, .nr_groups = 1, .group = { { 2, 0, 0, 0, 0, 1 } } };
	failed += work_check(port_configure(h, &unicast) < 0, "configure-unicast-group");
	struct nest_nic_conf spoof = { .what = NEST_CONF_SPOOF_CHECK };
	return failed + work_check(port_configure(h, &spoof) < 0, "configure-spoof-check-off");
}

/* ---- the mode transaction, out of order ---- */

static const struct { const char *name; u64 nr; } mode_calls[] = {
	{ "prepare", HC_NIC_PREPARE }, { "commit", HC_NIC_COMMIT }, { "abort", HC_NIC_ABORT }, { "want", HC_NIC_WANT },
};

static u32 bad_modes(u32 port)
{
	u32 failed = 0;

	for (u32 i = 0; i < ARRAY_SIZE(mode_calls); i++) {
		char name[48];
		sniprintf(name, sizeof(name), "%s-bad-mode", mode_calls[i].name);
		failed += work_check(nest_call(mode_calls[i].nr, port, 2, 0, 0) == -EINVAL &&
				     nest_call(mode_calls[i].nr, port, ~0ull, 0, 0) == -EINVAL &&
				     nest_call(mode_calls[i].nr, port, 1ull << 32, 0, 0) == -EINVAL, name);
		sniprintf(name, sizeof(name), "%s-no-such-port", mode_calls[i].name);
		failed += work_check(nest_call(mode_calls[i].nr, 63, 1, 0, 0) == -ENOENT &&
				     nest_call(mode_calls[i].nr, 1ull << 32 | port, 1, 0, 0) == -ENOENT, name);
	}
	return failed;
}

/* The port is in `mode`; nothing is prepared. */
static u32 not_prepared(u32 port, u32 mode, const char *state)
{
	static const char *const to[] = { "emulation", "passthrough" };
	u32 failed = 0;

	for (u32 m = 0; m < 2; m++) {
		char name[64];
		sniprintf(name, sizeof(name), "commit-%s-unprepared-%s", to[m], state);
		failed += work_check_result(port_commit(port, m), -EINVAL, name);
		sniprintf(name, sizeof(name), "abort-%s-unprepared-%s", to[m], state);
		failed += work_check_result(port_abort(port, m), -EINVAL, name);
	}
	return failed + work_check_result(port_prepare(port, mode), -EALREADY, "prepare-same-mode");
}

static u32 bad_plugin(u32 port)
{
	u32 failed = work_check_result(nest_call(HC_NIC_PLUGIN, port, 1, 0, 0), -EINVAL, "plugin-offset-1");

	failed += work_check_result(nest_call(HC_NIC_PLUGIN, port, NEST_PLUGIN_PIECE - 1, 0, 0), -EINVAL, "plugin-offset-misaligned");
	failed += work_check_result(nest_call(HC_NIC_PLUGIN, port, ~0xfffull, 0, 0), -EINVAL, "plugin-offset-huge");
	failed += work_check_result(nest_call(HC_NIC_PLUGIN, port, 0xfffff000, 0, 0), 0, "plugin-offset-behind-the-end");
	return failed + work_check_result(nest_call(HC_NIC_PLUGIN, 63, 0, 0, 0), -ENOENT, "plugin-no-such-port");
}

/* Before the port is open. */
static u32 closed(u32 port)
{
	u32 failed = bad_modes(port) + not_prepared(port, NEST_MODE_EMULATION, "closed") + bad_plugin(port);

	failed += work_check_result(port_prepare(port, NEST_MODE_PASSTHROUGH), -ENOENT, "prepare-not-open");
	failed += work_check_result(nest_call(HC_NIC_FENCE, 63, 0, 0, 0), -ENOENT, "fence-no-such-port");
	failed += work_check_result(nest_call(HC_NIC_PORT_STATS, 63, 0, 0, 0), -ENOENT, "port-stats-no-such-port");
	failed += work_check_result(nest_call(HC_NIC_ALLOC, port, 1u << 2, 0, 0), -EINVAL, "alloc-unknown-flag");
	failed += work_check_result(nest_call(HC_NIC_ALLOC, port, NEST_ALLOC_PARKED | 1ull << 32, 0, 0), -EINVAL, "alloc-high-flag");
	return failed + work_check_result(nest_call(HC_NIC_ALLOC, port, ~0ull, 0, 0), -EINVAL, "alloc-all-flags");
}

/* Prepared and not yet committed: what must wait, and what may not happen twice. */
static u32 prepared(u32 port)
{
	s64 h = port_alloc(port, NEST_ALLOC_PARKED);
	u32 failed = work_check(h > 0, "alloc-parked");

	failed += work_check_result(port_prepare(port, NEST_MODE_PASSTHROUGH), 0, "prepare");
	failed += work_check_result(port_prepare(port, NEST_MODE_PASSTHROUGH), -EBUSY, "prepare-twice");
	failed += work_check_result(port_prepare(port, NEST_MODE_EMULATION), -EALREADY, "prepare-other-way");
	failed += work_check_result(port_commit(port, NEST_MODE_EMULATION), -EINVAL, "commit-other-way");
	failed += work_check_result(port_abort(port, NEST_MODE_EMULATION), -EINVAL, "abort-other-way");
	failed += work_check_result(port_quiesce((u64)h), -EBUSY, "quiesce-prepared");
	failed += work_check_result(port_alloc(port, 0), -EBUSY, "alloc-prepared");
	failed += work_check_result(port_abort(port, NEST_MODE_PASSTHROUGH), 0, "abort");
	failed += not_prepared(port, NEST_MODE_EMULATION, "aborted");
	failed += work_check_result(port_prepare(port, NEST_MODE_PASSTHROUGH), 0, "prepare-again");
	failed += work_check_result(port_free((u64)h), 0, "free-prepared");
	return failed + not_prepared(port, NEST_MODE_EMULATION, "freed") + no_such_handle((u64)h, "of-a-freed-transaction");
}

/* In pass-through from the start: its emulated device has never run. */
static u32 cold(u32 port, u64 h)
{
	static struct nest_nic_state none, state;
	u32 failed = not_prepared(port, NEST_MODE_PASSTHROUGH, "cold");

	failed += work_check_result(port_prepare(port, NEST_MODE_EMULATION), -EIO, "prepare-without-a-driver");
	failed += work_check_result(port_save(h, &state), -EBUSY, "save-running");
	failed += work_check_result(port_restore(h, &none), -EBUSY, "restore-running");
	failed += work_check_result(port_resume(h), -EINVAL, "resume-running");
	failed += work_check_result(port_quiesce(h), 0, "quiesce");
	failed += work_check_result(port_restore(h, &none), -EINVAL, "restore-nothing");
	failed += work_check_result(port_save(h, &state), 0, "save");
	state.totals.rx_packets++;
	failed += work_check_result(port_restore(h, &state), -EINVAL, "restore-altered");
	return failed + work_check_result(port_resume(h), 0, "resume");
}

u32 work_torture_nic(const struct cmdline *c)
{
	u32 port = (u32)cmdline_u64(c, "nic", 0), failed = 0;
	struct nest_nic_info info;

	nest_phase(PHASE_CONTROL);
	failed += work_check_result(port_info(63, &info), -ENOENT, "info-no-such-port");
	failed += work_check_result(port_info(~0u, &info), -ENOENT, "info-port-huge");
	failed += work_check_result(port_alloc(63, 0), -ENOENT, "alloc-no-such-port");
	failed += no_such_handle(NOT_A_HANDLE, "invented");
	failed += no_such_handle(0, "zero");
	failed += no_such_handle(FIRST_HANDLE, "of-another-vm"); /* if one has its port open for the first time */
	failed += closed(port) + prepared(port);
	s64 h = port_alloc(port, 0);
	if (work_check(h > 0, "alloc"))
		return failed + 1;
	failed += work_check_result(port_alloc(port, 0), -EBUSY, "alloc-twice");
	failed += no_such_handle((u64)h + 0x100, "next-generation");
	failed += no_such_handle((u64)h | 1ull << 32, "high-bits");
	failed += bad_windows((u64)h) + bad_dma((u64)h) + bad_irqs((u64)h) + forbidden_registers((u64)h);
	failed += bad_configuration((u64)h) + cold(port, (u64)h);
	failed += work_check_result(port_free((u64)h), 0, "free");
	failed += no_such_handle((u64)h, "stale");
	failed += work_check(vf_read((volatile u8 *)memory_device_window(), VF_STATUS) == ~0u, "registers-gone-after-free");
	return failed;
}
