/*
 * The VM, the lower link and the driver of the tests of the emulated network device (vnet_model.h).
 */
#include "tests/unit/vnet_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/errno.h"
#include "core/vmisc.h"
#include "core/vpci.h"

u64 host_direct_map_base;
struct vm model_vm;
u8 model_ram[MODEL_END] __aligned_to(4096);
struct vnet *model_dev;
struct nic_port model_port;
const u8 model_mac[6] = { 0x52, 0x54, 0, 0, 0, 2 }, peer_mac[6] = { 2, 0, 0, 0, 0, 9 };
const u8 all_mac[6] = { 255, 255, 255, 255, 255, 255 }, group_mac[6] = { 1, 0, 0x5e, 1, 2, 3 };
char model_log[256];
void (*model_race)(u64 gpa, u64 len);
void (*model_race_at)(u64 gpa, u64 len);
struct model_seen model_seen;
struct model_lower model_lower;
struct drvq drvq[3];
static struct vm_config config = { .name = "test" };
static const struct nic_config nic_config;
static struct vcpu_core cpu;

/* ---- what core/ gives ---- */

void log_line(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(model_log, sizeof(model_log), fmt, ap);
	va_end(ap);
}

void *pages_alloc(struct mem_owner *owner, unsigned order)
{
	void *p = aligned_alloc(PAGE_SIZE << order, PAGE_SIZE << order);
	memset(p, 0, PAGE_SIZE << order);
	owner->pages += 1ull << order;
	return p;
}

void pages_free(struct mem_owner *owner, void *p, unsigned order)
{
	owner->pages -= 1ull << order;
	free(p);
}

void vmisc_reset_control(struct vm *vm, u8 value) { (void)vm, (void)value; }

static void msi(struct vm *vm, u64 addr, u32 data)
{
	(void)vm;
	model_seen.msi_addr = addr;
	if (model_seen.msis < MODEL_FRAMES)
		model_seen.msi_data[model_seen.msis] = data;
	model_seen.msis++;
}
static const struct vm_arch_ops arch = { .msi = msi };
const struct vm_arch_ops *vm_arch = &arch;

static bool is_ram(u64 gpa, u64 len)
{
	u64 end = gpa + len;
	return end >= gpa && (end <= MODEL_LOW || (gpa >= MODEL_HIGH && end <= MODEL_END));
}

int vm_read(struct vm *vm, gpa_t gpa, void *buf, u64 len)
{
	(void)vm;
	if (!is_ram(gpa.v, len))
		return -EFAULT;
	memcpy(buf, model_ram + gpa.v, len);
	if (model_race)
		model_race(gpa.v, len);
	return 0;
}

int vm_write(struct vm *vm, gpa_t gpa, const void *buf, u64 len)
{
	(void)vm;
	if (!is_ram(gpa.v, len))
		return -EFAULT;
	memcpy(model_ram + gpa.v, buf, len);
	return 0;
}

hpa_t vm_gpa_to_hpa(struct vm *vm, gpa_t gpa, u64 len)
{
	(void)vm;
	if (model_race_at)
		model_race_at(gpa.v, len);
	bool one = is_ram(gpa.v, len) && gpa.v / MODEL_LEAF == (gpa.v + len - 1) / MODEL_LEAF;
	return one ? HPA((u64)(model_ram + gpa.v)) : HPA_NONE;
}

/* ---- the lower link ---- */

static int l_info(struct nic_lower *l, struct nest_nic_info *out)
{
	(void)l;
	*out = (struct nest_nic_info){ .vlan = model_lower.vlan, .max_frame = model_lower.max_frame ? model_lower.max_frame : 1514,
				       .flags = model_lower.link_down ? 0 : NEST_NIC_LINK_UP };
	memcpy(out->mac, model_mac, 6);
	return 0;
}
static int l_start(struct nic_lower *l)
{
	(void)l;
	ASSERT(!model_seen.started);
	model_seen.starts++;
	model_seen.started = !model_lower.err_start;
	return model_lower.err_start;
}
static void l_stop(struct nic_lower *l)
{
	(void)l;
	ASSERT(model_seen.started);
	model_seen.stops++;
	model_seen.started = false;
}
static int l_tx(struct nic_lower *l, const u8 *frame, u32 len)
{
	(void)l;
	ASSERT(model_seen.started && len >= 14 && len <= sizeof(model_seen.last));
	model_seen.len[model_seen.frames++ % MODEL_FRAMES] = len;
	memcpy(model_seen.last, frame, len);
	return model_lower.err_tx;
}
static void l_flush(struct nic_lower *l)
{
	(void)l;
	model_seen.flushes++;
}
static int l_fence(struct nic_lower *l)
{
	(void)l;
	model_seen.fences++;
	return 0;
}
static void l_more(struct nic_lower *l)
{
	(void)l;
	model_seen.more++;
	if (model_lower.more)
		model_lower.more();
}
static void l_filter(struct nic_lower *l, const struct nic_rx_filter *f)
{
	(void)l;
	ASSERT(model_seen.started && f->nr <= NEST_MAX_GROUPS);
	model_seen.filters++;
	model_seen.filter = *f;
}
static const struct nic_data_ops data = { l_start, l_stop, l_tx, l_flush, l_fence, l_more, l_filter };
static const struct nic_ops ops = { .info = l_info, .data = &data };
static struct nic_lower lower = { .ops = &ops, .data = &data };

/* ---- life and accesses ---- */

void model_begin(void)
{
	memset(&model_seen, 0, sizeof(model_seen));
	memset(&model_lower, 0, sizeof(model_lower));
	memset(model_ram, 0, sizeof(model_ram));
	model_race = model_race_at = NULL;
	model_vm = (struct vm){ .cfg = &config };
	cpu = (struct vcpu_core){ .vm = &model_vm };
	model_port = (struct nic_port){ .vm = &model_vm, .lower = &lower, .cfg = &nic_config };
	ASSERT(!vpci_create(&model_vm));
	ASSERT(!vnet_create(&model_dev, &model_port));
}

u64 model_end(void)
{
	vnet_destroy(model_dev);
	vpci_destroy(&model_vm);
	return model_vm.owner.pages;
}

u64 model_load(u64 gpa, u32 size)
{
	u64 v;
	vdev_read(&model_vm.mmio, &cpu, gpa, size, &v);
	return v;
}
void model_store(u64 gpa, u32 size, u64 value) { vdev_write(&model_vm.mmio, &cpu, gpa, size, value); }

static u64 ecam(u32 offset) { return VPCI_ECAM_BASE + ((u64)vnet_rid(model_dev).v << 12) + offset; }
u32 model_config(u32 offset, u32 size) { return (u32)model_load(ecam(offset), size); }
void model_config_write(u32 offset, u32 size, u32 value) { model_store(ecam(offset), size, value); }

/* ---- the driver ---- */

u64 reg(u32 offset, u32 size) { return model_load((model_config(0x10, 4) & ~15u) + offset, size); }
void reg_write(u32 offset, u32 size, u64 value) { model_store((model_config(0x10, 4) & ~15u) + offset, size, value); }
u8 drv_status(void) { return (u8)reg(COMMON(device_status)); }

bool drv_negotiate(u64 features)
{
	model_config_write(4, 2, 6);
	reg_write(COMMON(device_status), 0);
	reg_write(COMMON(device_status), VIRTIO_STATUS_ACKNOWLEDGE);
	reg_write(COMMON(device_status), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	for (u32 i = 0; i < 2; i++) {
		reg_write(COMMON(driver_feature_select), i);
		reg_write(COMMON(driver_feature), (u32)(features >> i * 32));
	}
	reg_write(COMMON(device_status), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	for (u32 i = 0; i < 3; i++)
		drvq[i].event = features >> VIRTIO_F_RING_EVENT_IDX & 1;
	return drv_status() & VIRTIO_STATUS_FEATURES_OK;
}

void drv_queue(u32 index, u16 size, u64 desc, u64 avail, u64 used)
{
	drvq[index] = (struct drvq){ index, size, desc, avail, used, 0, 0, 0, drvq[index].event };
	reg_write(COMMON(queue_select), index);
	reg_write(COMMON(queue_size), size);
	reg_write(COMMON(queue_msix_vector), index + 1);
	reg_write(VNET_COMMON + (u32)offsetof(struct virtio_common, queue_desc), 4, (u32)desc);
	reg_write(VNET_COMMON + (u32)offsetof(struct virtio_common, queue_desc) + 4, 4, desc >> 32);
	reg_write(COMMON(queue_driver), avail);
	reg_write(COMMON(queue_device), used);
	reg_write(COMMON(queue_enable), 1);
}

void drv_msix(void)
{
	u64 table = model_config(0x14, 4) & ~15u;
	for (u32 v = 0; v < VNET_VECTORS; v++) {
		model_store(table + v * 16, 8, 0xfee00000);
		model_store(table + v * 16 + 8, 4, 0x40 + v);
		model_store(table + v * 16 + 12, 4, 0);
	}
	model_config_write(0x42, 2, 0x8000);
	reg_write(COMMON(config_msix_vector), 0);
}

bool drv_start(u64 features, u16 size)
{
	if (!drv_negotiate(features))
		return false;
	drv_msix();
	memset(model_ram + 0x10000, 0, 0x40000);
	for (u32 q = 0; q < 3; q++)
		drv_queue(q, size, 0x10000 * (q + 1), 0x10000 * (q + 1) + 0x2000, 0x10000 * (q + 1) + 0x4000);
	reg_write(COMMON(device_status), 15);
	return drv_status() == 15;
}

static u16 *ram16(u64 gpa) { return (u16 *)(model_ram + gpa); }

void desc_set(u32 q, u16 i, u64 addr, u32 len, u16 flags, u16 next)
{
	struct virtq_desc d = { addr, len, flags, next };
	memcpy(model_ram + drvq[q].desc + i * sizeof(d), &d, sizeof(d));
}

void drv_post(u32 q, u16 head)
{
	struct drvq *d = &drvq[q];
	*ram16(d->avail + 4 + (d->posted % d->size) * 2) = head;
	*ram16(d->avail + 2) = ++d->posted;
}

u16 drv_avail_event(u32 q) { return *ram16(drvq[q].used + 4 + drvq[q].size * 8); }
u16 drv_used_flags(u32 q) { return *ram16(drvq[q].used); }

bool drv_kick(u32 q)
{
	struct drvq *d = &drvq[q];
	bool exit = d->event ? virtq_need_event(drv_avail_event(q), d->posted, d->kicked) : !(drv_used_flags(q) & VIRTQ_USED_NO_NOTIFY);
	exit = exit && d->kicked != d->posted;
	d->kicked = d->posted;
	if (exit)
		drv_kick_always(q);
	return exit;
}

void drv_kick_always(u32 q) { reg_write(VNET_NOTIFY + q * VNET_NOTIFY_MULTIPLIER, 2, q); }

bool drv_used(u32 q, u32 *id, u32 *len)
{
	struct drvq *d = &drvq[q];
	struct virtq_used_elem e;
	if (*ram16(d->used + 2) == d->seen)
		return false;
	memcpy(&e, model_ram + d->used + 4 + (d->seen % d->size) * sizeof(e), sizeof(e));
	d->seen++;
	*id = e.id;
	*len = e.len;
	return true;
}

void drv_want_irq(u32 q, bool on)
{
	struct drvq *d = &drvq[q];
	if (d->event)
		*ram16(d->avail + 4 + d->size * 2) = (u16)(on ? d->seen : d->seen - 1);
	else
		*ram16(d->avail) = on ? 0 : VIRTQ_AVAIL_NO_INTERRUPT;
}

void drv_send(u16 slot, const u8 *frame, u32 len)
{
	u64 at = DATA(1, slot);
	memset(model_ram + at, 0, sizeof(struct virtio_net_hdr));
	memcpy(model_ram + at + sizeof(struct virtio_net_hdr), frame, len);
	desc_set(1, slot, at, len + (u32)sizeof(struct virtio_net_hdr), 0, 0);
	drv_post(1, slot);
}

void drv_give(u16 slot, u32 len)
{
	desc_set(0, slot, DATA(0, slot), len, VIRTQ_DESC_WRITE, 0);
	drv_post(0, slot);
}

u8 drv_command(u8 class, u8 cmd, const void *bytes, u32 len)
{
	u64 at = DATA(2, 0);
	u32 id, n;
	u8 *p = model_ram + at;
	p[0] = class;
	p[1] = cmd;
	memcpy(p + 2, bytes, len);
	p[0x3000] = 0xee;
	desc_set(2, 0, at, 2, VIRTQ_DESC_NEXT, 1);
	desc_set(2, 1, at + 2, len, VIRTQ_DESC_NEXT, 2);
	desc_set(2, 2, at + 0x3000, 1, VIRTQ_DESC_WRITE, 0);
	drv_post(2, 0);
	drv_kick(2);
	return drv_used(2, &id, &n) && n == 1 ? p[0x3000] : 0xff;
}

void frame_make(u8 *frame, u32 len, const u8 *to, const u8 *from, u32 n)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	for (u32 i = 12; i < len; i++)
		frame[i] = (u8)(i * 7 + n);
	frame[12] = 8;
	if (len > 13)
		frame[13] = 0;
}
