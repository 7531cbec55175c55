/*
 * The lower link of an instance that has an outer: every operation is one hypercall to it.
 *
 * Invariant: policy is not decided here. What is ours is only where the outer shows us a VF's registers (a window in our physical
 * address space that holds no RAM) and the record page through which lists pass.
 */
#include <string.h>

#include "core/fault.h"
#include "core/mem.h"
#include "core/percpu.h"
#include "nic/upstream.h"

#define FREE_TRIES 3
#define WINDOW_TRIES 64
#define WINDOW_STEP SIZE_2M

static struct upstream ports[NIC_MAX_LOWER];

static struct upstream *up(struct nic_lower *l) { return l->priv; }

/* Precondition: the record page is filled, if the call takes one. Not for the calls of which a value > 0 is expected. */
static int simple(u64 nr, u64 a0, u64 a1, u64 a2)
{
	s64 r = upstream_call(nr, a0, a1, a2);
	return r > 0 ? 0 : (int)r;
}

/* A call that fills the record page: len bytes of it, if it succeeds. */
static int ask(u64 nr, u64 a0, void *out, u64 len)
{
	int r = simple(nr, a0, 0, 0);
	if (!r)
		memcpy(out, outer_record(), len);
	return r;
}

/* One that takes len bytes of it. */
static int tell(u64 nr, u64 a0, u64 a1, const void *in, u64 len)
{
	memcpy(outer_record(), in, len);
	return simple(nr, a0, a1, 0);
}

static int up_info(struct nic_lower *l, struct nest_nic_info *out) { return ask(HC_NIC_INFO, up(l)->port, out, sizeof(*out)); }

static int up_configure(struct nic_lower *l, const struct nest_nic_conf *conf)
{
	return tell(HC_NIC_CONFIGURE, up(l)->handle, 0, conf, sizeof(*conf));
}

static int up_free(struct nic_lower *l)
{
	int r = -EIO;
	for (u32 i = 0; i < FREE_TRIES && r == -EIO; i++) /* what the outer keeps, nobody can give back later */
		r = fault_point("upstream: free") ? -EIO : simple(HC_NIC_FREE, up(l)->handle, 0, 0);
	up(l)->handle = 0;
	return r == -ENOENT ? -EIO : r; /* it has forgotten the handle with the first of these errors */
}

/* What our own configuration demands must be what the outer gives: it decides; of a VLAN behind an external switch, the bridge does. */
static int up_alloc(struct nic_lower *l, struct vm *vm, const struct nic_config *conf, u32 flags)
{
	s64 r = fault_point("upstream: allocate") ? -EIO : upstream_call(HC_NIC_ALLOC, up(l)->port, flags, 0);
	if (r <= 0)
		return r ? (int)r : -EIO;
	up(l)->handle = (u64)r;
	u16 vlan = l->ext ? 0 : conf->vlan;
	if (!conf->has_mac && !vlan)
		return 0;
	struct nest_nic_conf want = { .vlan = vlan, .what = (conf->has_mac ? NEST_CONF_MAC : 0) | (vlan ? NEST_CONF_VLAN : 0) };
	memcpy(want.mac, conf->mac, sizeof(want.mac));
	int e = up_configure(l, &want);
	if (e) {
		log_line("nic: VM %s: the outer refuses the MAC or VLAN of its port%u (error %d)", vm->cfg->name, conf->port, -e);
		up_free(l);
	}
	return e;
}

/* Above all RAM that the outer can have given us, whatever hole it left below 4 GiB; one slot for each port. */
static u64 window_first(const struct upstream *u)
{
	return BIT(32) + ALIGN_UP(mem_total_bytes(), SIZE_1G) + u->port * NIC_REGS_LEN;
}

static bool window_has_ram(u64 base)
{
	for (u64 off = 0; off < NIC_REGS_LEN; off += PAGE_SIZE)
		if (mem_is_ram(HPA(base + off), PAGE_SIZE))
			return true;
	return false;
}

/* The outer refuses places where it has something; then the next one. */
static int up_map_regs(struct nic_lower *l, hpa_t *base)
{
	u64 at = window_first(up(l));
	int r = -EINVAL;
	for (u32 i = 0; i < WINDOW_TRIES && r == -EINVAL; i++, at += WINDOW_STEP) {
		if (window_has_ram(at))
			continue;
		r = simple(HC_NIC_MAP_REGS, up(l)->handle, at, 0);
		*base = HPA(at);
	}
	return r;
}

static int up_unmap_regs(struct nic_lower *l) { return simple(HC_NIC_UNMAP_REGS, up(l)->handle, 0, 0); }

static int up_reg_read(struct nic_lower *l, u32 offset, u32 *value)
{
	s64 r = upstream_call(HC_NIC_REG_READ, up(l)->handle, offset, 0);
	*value = r < 0 ? 0 : (u32)r;
	return r < 0 ? (int)r : 0;
}

static int up_reg_write(struct nic_lower *l, u32 offset, u32 value)
{
	return simple(HC_NIC_REG_WRITE, up(l)->handle, offset, value);
}

/* Our physical addresses are the outer's guest-physical ones. */
static int dma_call(struct nic_lower *l, u64 nr, const struct iommu_range *r, u32 n)
{
	struct nest_nic_dma *rec = outer_record();
	for (u32 i = 0; i < n; i++)
		rec[i] = (struct nest_nic_dma){ .iova = r[i].iova.v, .gpa = r[i].hpa.v, .len = r[i].len, .perm = r[i].perm };
	return simple(nr, up(l)->handle, n, 0);
}

static int up_dma_map(struct nic_lower *l, const struct iommu_range *r, u32 n)
{
	for (u32 done = 0; done < n;) {
		u32 part = MIN(n - done, NEST_DMA_MAX);
		int e = dma_call(l, HC_NIC_DMA_MAP, r + done, part);
		if (e) {
			while (done) {
				u32 back = MIN(done, NEST_DMA_MAX);
				done -= back;
				if (dma_call(l, HC_NIC_DMA_UNMAP, r + done, back))
					log_line("nic: the outer did not take a mapping back");
			}
			return e;
		}
		done += part;
	}
	return 0;
}

static int up_dma_unmap(struct nic_lower *l, const struct iommu_range *r, u32 n)
{
	int e = 0;
	for (u32 done = 0; done < n && !e; done += NEST_DMA_MAX)
		e = dma_call(l, HC_NIC_DMA_UNMAP, r + done, MIN(n - done, NEST_DMA_MAX));
	return e;
}

static int up_irq_set(struct nic_lower *l, u32 index, const struct nic_irq_request *req)
{
	bool direct = req->pi.v != HPA_NONE.v && outer_features() & NEST_FEAT_PI;
	struct nest_nic_irq want = {
		.vector = req->host_vector,
		.apic_id = cpus[req->cpu].apic_id,
		.pi_gpa = direct ? req->pi.v : ~0ull,
		.pi_vector = direct ? req->pi_vector : 0,
	};
	return tell(HC_NIC_IRQ_SET, up(l)->handle, index, &want, sizeof(want));
}

static int up_irq_mask(struct nic_lower *l, u32 index, bool mask) { return simple(HC_NIC_IRQ_MASK, up(l)->handle, index, mask); }
/* An outer that does not know the call cannot do it. */
static int up_irq_post(struct nic_lower *l, u32 index, hpa_t page)
{
	bool on = page.v != HPA_NONE.v;
	s64 r = upstream_call4(HC_NIC_IRQ_POST, up(l)->handle, index, on ? NEST_POST_GUEST : NEST_POST_OFF, on ? page.v : 0);

	return r == -ENOSYS ? -ENOTSUP : (int)r;
}

static int up_irq_clear(struct nic_lower *l, u32 index) { return simple(HC_NIC_IRQ_CLEAR, up(l)->handle, index, 0); }

/* What the outer's emulated device carried is counted by our own device. */
static int up_stats(struct nic_lower *l, struct nest_nic_stats *out)
{
	int r = ask(HC_NIC_PORT_STATS, up(l)->port, out, sizeof(*out));
	if (r)
		return r;
	out->rx_packets -= out->emu_rx_packets;
	out->rx_bytes -= out->emu_rx_bytes;
	out->tx_packets -= out->emu_tx_packets;
	out->tx_bytes -= out->emu_tx_bytes;
	out->rx_multicast -= out->emu_rx_multicast;
	out->emu_rx_packets = out->emu_rx_bytes = out->emu_tx_packets = out->emu_tx_bytes = out->emu_rx_multicast = 0;
	out->dropped = out->switches = 0;
	return 0;
}

static int up_quiesce(struct nic_lower *l) { return simple(HC_NIC_QUIESCE, up(l)->handle, 0, 0); }
static int up_resume(struct nic_lower *l) { return simple(HC_NIC_RESUME, up(l)->handle, 0, 0); }

static int up_save(struct nic_lower *l, struct nest_nic_state *out)
{
	return ask(HC_NIC_SAVE, up(l)->handle, out, sizeof(*out));
}

static int up_restore(struct nic_lower *l, const struct nest_nic_state *in)
{
	return tell(HC_NIC_RESTORE, up(l)->handle, 0, in, sizeof(*in));
}

static u64 mode_number(enum nic_mode mode) { return mode == NIC_PASSTHROUGH ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION; }

static int up_prepare(struct nic_lower *l, enum nic_mode mode)
{
	return fault_point("upstream: prepare") ? -EIO : simple(HC_NIC_PREPARE, up(l)->port, mode_number(mode), 0);
}

/* After a prepare the outer has no reason to refuse. */
static void up_commit(struct nic_lower *l, enum nic_mode mode, u32 *vf_head)
{
	s64 r = upstream_call(HC_NIC_COMMIT, up(l)->port, mode_number(mode), 0);
	*vf_head = r < 0 ? 0 : (u32)r;
	if (r < 0)
		log_line("nic: the outer refused to commit port%u (error %d)", up(l)->port, (int)-r);
}

static void up_abort(struct nic_lower *l, enum nic_mode mode)
{
	int r = fault_point("upstream: abort") ? -EIO : simple(HC_NIC_ABORT, up(l)->port, mode_number(mode), 0);
	if (r == -EIO)
		r = simple(HC_NIC_ABORT, up(l)->port, mode_number(mode), 0);
	if (r)
		log_line("nic: the outer refused to abort the transaction of port%u (error %d)", up(l)->port, -r);
}

static int up_plugin(struct nic_lower *l, u32 offset, u8 *piece)
{
	s64 r = upstream_call(HC_NIC_PLUGIN, up(l)->port, offset, 0);
	if (r > (s64)PAGE_SIZE)
		return -EIO;
	if (r > 0)
		memcpy(piece, outer_record(), (u64)r);
	return (int)r;
}

/* An outer that does not know the call has no external switch. */
static int up_extender(struct nic_lower *l)
{
	int r = simple(HC_NIC_EXTENDER, up(l)->port, 0, 0);
	return r == -ENOSYS ? 0 : r;
}

static const struct nic_ops upstream_ops = {
	.name = "upstream",
	.info = up_info, .alloc = up_alloc, .configure = up_configure,
	.map_regs = up_map_regs, .unmap_regs = up_unmap_regs, .reg_read = up_reg_read, .reg_write = up_reg_write,
	.dma_map = up_dma_map, .dma_unmap = up_dma_unmap,
	.irq_set = up_irq_set, .irq_mask = up_irq_mask, .irq_post = up_irq_post, .irq_clear = up_irq_clear,
	.stats = up_stats, .free = up_free,
	.quiesce = up_quiesce, .resume = up_resume, .save = up_save, .restore = up_restore,
	.prepare = up_prepare, .commit = up_commit, .abort = up_abort, .extender = up_extender, .plugin = up_plugin,
	.data = &upstream_data,
};

int upstream_init(void)
{
	int n = 0;
	if (!(outer_features() & NEST_FEAT_NIC))
		return 0;
	for (u32 i = 0; i < MIN(outer_ports(), NIC_MAX_LOWER); i++) {
		ports[i] = (struct upstream){ .port = i };
		if (simple(HC_NIC_INFO, i, 0, 0)) {
			log_line("nic: port%d is missing: the outer has nothing behind it", nic_lower_skip());
			continue;
		}
		if (nic_lower_add(&upstream_ops, &ports[i]) >= 0)
			n++;
	}
	log_line("nic: %d port%s from the outer", n, n == 1 ? "" : "s");
	return n;
}
