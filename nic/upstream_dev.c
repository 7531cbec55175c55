/*
 * The outer's virtio-net device, set up and taken down (VIRTIO 1.2, Device Initialization; Network Device).
 *
 * Invariant: the device knows no memory of ours but rings and buffers of this file, which stay ours for ever. There is no IOMMU
 * between it and us: our physical addresses are the outer's guest-physical ones, an interrupt is a plain message to a local APIC.
 */
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "core/irq.h"
#include "core/mem.h"
#include "core/percpu.h"
#include "core/time.h"
#include "nic/etag.h"
#include "nic/upstream.h"

#define RESET_US 1000000
#define VECTOR_RX 0
#define VECTOR_CONFIG 1
#define APIC_ID_MAX 255u /* of a message without remapping (SDM 3A, Message Address Register Format) */
#define WANT (BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) | \
	      BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_F_RING_EVENT_IDX))
#define NEED BIT(VIRTIO_F_VERSION_1)

static struct upstream *up(struct nic_lower *l) { return l->priv; }

/* ---- find and map, once ---- */

static u32 config_read(void *arg, u32 offset) { return pci_read32(((struct upstream_net *)arg)->rid, (u16)offset); }

static volatile u8 *map_place(rid_t rid, const struct virtio_place *p)
{
	hpa_t base;
	u64 size;
	if (pci_bar(rid, (u16)(PCI_BAR0 + 4 * p->bar), &base, &size) || p->offset + (u64)p->length > size)
		return NULL;
	return mmio_map(HPA(base.v + p->offset), p->length);
}

static int map_msix(struct upstream_net *n)
{
	int bar = msix_table_bar(n->rid);
	hpa_t base;
	u64 size;
	if (bar < 0 || pci_bar(n->rid, (u16)(PCI_BAR0 + 4 * bar), &base, &size))
		return -ENODEV;
	volatile u8 *p = mmio_map(base, size);
	int r = p ? msix_init(&n->msix, n->rid, p, (u32)bar, size) : -ENOMEM;
	return r ? r : n->msix.nr > VECTOR_CONFIG ? 0 : -ENODEV;
}

static int map_device(struct upstream_net *n)
{
	struct virtio_places places;
	if (pci_read32(n->rid, 0) != (VIRTIO_PCI_NET << 16 | VIRTIO_PCI_VENDOR) || virtio_find(config_read, n, &places))
		return -ENODEV;
	int r = map_msix(n);
	if (r)
		return r;
	n->common = map_place(n->rid, &places.at[VIRTIO_CAP_COMMON]);
	n->notify = map_place(n->rid, &places.at[VIRTIO_CAP_NOTIFY]);
	n->notify_len = places.at[VIRTIO_CAP_NOTIFY].length;
	n->notify_multiplier = places.notify_multiplier;
	return n->common && n->notify ? 0 : -ENODEV;
}

int upstream_dev_open(struct nic_lower *l)
{
	struct nest_nic_info info;
	int r = l->ops->info(l, &info); /* one hypercall: needs no lock of the port */
	if (r || !info.emu_rid || info.max_frame < 64 || info.max_frame > UPSTREAM_FRAME_MAX)
		return r ? -EIO : -ENODEV;
	if (fault_point("upstream device: find"))
		return -EIO;
	_Static_assert(sizeof(struct upstream_net) <= PAGE_SIZE, "one page");
	struct upstream_net *n = page_alloc(&mem_self);
	if (!n)
		return -ENOMEM;
	n->l = l;
	n->rid = (rid_t){ info.emu_rid };
	n->max_frame = info.max_frame;
	n->room = (u32)sizeof(struct virtio_net_hdr) + info.max_frame + 4 + (info.flags & NEST_NIC_EXTERNAL ? ETAG_LEN : 0);
	n->stride = (u32)ALIGN_UP(n->room, 64);
	n->per_chunk = UPSTREAM_CHUNK / n->stride;
	n->rx_vector = n->config_vector = -1;
	r = map_device(n);
	if (r) {
		page_free(&mem_self, n);
		return r;
	}
	up(l)->data = n;
	return 0;
}

/* ---- memory ---- */

/* Rings and buffers; zeroed buffers mean zeroed headers, which nobody changes: no offload is asked for. */
static int ring_memory(const struct upstream_net *n, struct upstream_ring *r, u32 buffers)
{
	if (!r->mem)
		r->mem = pages_alloc(&mem_self, 1);
	if (!r->mem)
		return -ENOMEM;
	for (u32 i = 0; i * n->per_chunk < buffers; i++) {
		ASSERT(i < UPSTREAM_MAX_CHUNKS);
		if (!r->chunk[i])
			r->chunk[i] = pages_alloc(&mem_self, UPSTREAM_CHUNK_ORDER);
		if (!r->chunk[i])
			return -ENOMEM;
	}
	return 0;
}

static u32 tx_buffers(const struct upstream_net *n)
{
	u32 size = VIRTQ_MAX;
	while (size * n->stride > UPSTREAM_TX_BYTES)
		size /= 2;
	return size;
}

static int memory(struct upstream_net *n)
{
	_Static_assert(sizeof(struct virtq_mem) <= 2 * PAGE_SIZE, "two pages");
	if (fault_point("upstream device: memory"))
		return -ENOMEM;
	int r = ring_memory(n, &n->rx, VIRTQ_MAX);
	r = r ? r : ring_memory(n, &n->tx, tx_buffers(n));
	return r ? r : ring_memory(n, &n->ctrl, 1);
}

/* ---- queues ---- */

static bool power_of_two(u32 v) { return v && !(v & (v - 1)); }

static int ring_start(struct upstream_net *n, struct upstream_ring *r, u16 queue, u16 vector, u32 most)
{
	u16 off, max = virtio_queue_max(n->common, queue), size = (u16)MIN(max, most);
	if (!power_of_two(max) || size < 2)
		return -ENODEV;
	memset(r->mem, 0, sizeof(*r->mem));
	virtq_start(&r->q, r->mem, size, n->features & BIT(VIRTIO_F_RING_EVENT_IDX));
	r->broken = false;
	int err = virtio_queue_start(n->common, size, vector, virt_to_hpa(r->mem).v, &off);
	if (err || (u64)off * n->notify_multiplier + 2 > n->notify_len)
		return -EIO;
	r->notify = n->notify + (u64)off * n->notify_multiplier;
	return 0;
}

static void fill(struct upstream_net *n)
{
	for (u16 i = 0; i < n->rx.q.size; i++) {
		u64 at = virt_to_hpa(upstream_buffer(n, &n->rx, i)).v;
		n->rx.mem->desc[i] = (struct virtq_desc){ at, n->room, VIRTQ_DESC_WRITE, 0 };
		virtq_post(&n->rx.q, i);
	}
	for (u16 i = 0; i < n->tx.q.size; i++)
		n->tx.mem->desc[i].addr = virt_to_hpa(upstream_buffer(n, &n->tx, i)).v;
	virtq_irq(&n->rx.q, true);
}

static int queues(struct upstream_net *n)
{
	if (fault_point("upstream device: queues"))
		return -EIO;
	int r = ring_start(n, &n->rx, VIRTIO_NET_RXQ, VECTOR_RX, VIRTQ_MAX);
	r = r ? r : ring_start(n, &n->tx, VIRTIO_NET_TXQ, VIRTIO_NO_VECTOR, tx_buffers(n));
	if (!r && n->features & BIT(VIRTIO_NET_F_CTRL_VQ))
		r = ring_start(n, &n->ctrl, VIRTIO_NET_CTRLQ, VIRTIO_NO_VECTOR, VIRTQ_MAX);
	r = r ? r : virtio_config_vector(n->common, VECTOR_CONFIG);
	if (!r)
		fill(n);
	return r;
}

/* ---- interrupts ---- */

/* Where the VM's first vCPU is: it most likely is the one that the frame is for. */
static u32 port_cpu(const struct nic_lower *l)
{
	const struct vm *vm = l->bound ? l->bound->vm : NULL;
	return vm && vm->nr_vcpus ? vm_vcpu(vm, 0)->cpu : 0;
}

static int vector_set(struct upstream_net *n, u32 index, irq_fn fn, int *vector)
{
	*vector = irq_alloc(n->cpu, fn, n);
	if (*vector < 0)
		return *vector;
	msix_set(&n->msix, index, 0xfee00000u | (u64)cpus[n->cpu].apic_id << 12, (u32)*vector, false);
	return 0;
}

/* Before the queues: a device may refuse vectors while its MSI-X is off. */
static int interrupts(struct upstream_net *n)
{
	n->cpu = port_cpu(n->l);
	if (cpus[n->cpu].apic_id > APIC_ID_MAX)
		return -ENODEV;
	if (fault_point("upstream device: interrupts"))
		return -EIO;
	msix_enable(&n->msix);
	int r = vector_set(n, VECTOR_RX, upstream_rx_irq, &n->rx_vector);
	return r ? r : vector_set(n, VECTOR_CONFIG, upstream_config_irq, &n->config_vector);
}

static void vector_clear(const struct upstream_net *n, int *vector)
{
	if (*vector >= 0)
		irq_free(n->cpu, (u8)*vector);
	*vector = -1;
}

/* ---- start and stop ---- */

static int reset(const struct upstream_net *n)
{
	virtio_reset(n->common);
	return wait_until(!virtio_status(n->common), RESET_US) ? 0 : -EIO;
}

int upstream_dev_start(struct upstream_net *n)
{
	int r = memory(n);
	if (r)
		return r;
	pci_write16(n->rid, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	r = fault_point("upstream device: reset") ? -EIO : reset(n);
	r = r ? r : interrupts(n);
	if (!r)
		r = fault_point("upstream device: features") ? -EIO : virtio_negotiate(n->common, WANT, NEED, &n->features);
	r = r ? r : queues(n);
	if (r)
		upstream_dev_stop(n);
	return r;
}

int upstream_dev_go(struct upstream_net *n)
{
	virtio_status_add(n->common, VIRTIO_STATUS_DRIVER_OK);
	return virtio_status(n->common) & VIRTIO_STATUS_NEEDS_RESET ? -EIO : 0;
}

void upstream_dev_stop(struct upstream_net *n)
{
	if (reset(n))
		log_line("nic: the outer's device " RID_FMT " does not confirm its reset", RID_ARG(n->rid));
	msix_disable(&n->msix);
	vector_clear(n, &n->rx_vector);
	vector_clear(n, &n->config_vector);
	pci_write16(n->rid, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_INTX_DISABLE);
}
