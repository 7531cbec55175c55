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
	const struct { const char *call; s64 result; } all[] = {
		{ "configure", port_configure(h, &conf) }, { "map-regs", port_map_regs(h, memory_device_window()) },
		{ "unmap-regs", port_unmap_regs(h) }, { "dma-map", port_dma_map(h, &d, 1) },
		{ "dma-unmap", port_dma_unmap(h, &d, 1) }, { "irq-set", port_irq_set(h, 0, &irq) },
		{ "irq-mask", port_irq_mask(h, 0, 1) }, { "irq-clear", port_irq_clear(h, 0) },
		{ "stats", port_stats(h, &stats) }, { "reg-read", port_reg_read(h, VF_STATUS) },
		{ "reg-write", port_reg_write(h, VF_CTRL, 0) }, { "free", port_free(h) },
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

static u32 bad_configuration(u64 h)
{
	struct nest_nic_conf huge = { .what = NEST_CONF_MAX_FRAME, .max_frame = ~0u };
	struct nest_nic_conf unknown = { .what = 1u << 31 };
	struct nest_nic_conf group = { .what = NEST_CONF_MAC, .mac = { 1, 0, 0x5e, 0, 0, 1 } };
	struct nest_nic_conf vlan = { .what = NEST_CONF_VLAN, .vlan = 4095 };

	return work_check(port_configure(h, &huge) < 0, "configure-huge-frames") +
	       work_check_result(port_configure(h, &unknown), -EINVAL, "configure-unknown-bit") +
	       work_check(port_configure(h, &group) < 0, "configure-group-mac") +
	       work_check(port_configure(h, &vlan) < 0, "configure-vlan-4095");
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
	s64 h = port_alloc(port, 0);
	if (work_check(h > 0, "alloc"))
		return failed + 1;
	failed += work_check_result(port_alloc(port, 0), -EBUSY, "alloc-twice");
	failed += no_such_handle((u64)h + 0x100, "next-generation");
	failed += no_such_handle((u64)h | 1ull << 32, "high-bits");
	failed += bad_windows((u64)h) + bad_dma((u64)h) + bad_irqs((u64)h) + forbidden_registers((u64)h);
	failed += bad_configuration((u64)h);
	failed += work_check_result(port_free((u64)h), 0, "free");
	failed += no_such_handle((u64)h, "stale");
	failed += work_check(vf_read((volatile u8 *)memory_device_window(), VF_STATUS) == ~0u, "registers-gone-after-free");
	return failed;
}
