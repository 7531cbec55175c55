/*
 * The life of a virtual function: given to a VM, used, taken back; the 82576's nic_ops.
 *
 * Invariant: a VF masters the bus only while it is attached to a domain of its owner; it is scrubbed before it is given and after it is
 * taken; when its reset or its flush cannot be completed it is silenced and never given again.
 */
#include <string.h>

#include "core/errno.h"
#include "nic/igb.h"

#define SAMPLE_US 30000000ull /* octet counters wrap after 34 s at 1 Gb/s */
#define VF_QUIET PCI_COMMAND_INTX_DISABLE
#define VF_DECODE (VF_QUIET | PCI_COMMAND_MEM)
#define VF_RUN (VF_DECODE | PCI_COMMAND_MASTER)

/* Also decides whether a VF's registers answer: each VF's own COMMAND counts (FACTS: VF decode), and a reset clears it. */
static void vf_command(struct igb_vf *vf, u64 bits) { pci_write16(vf->rid, PCI_COMMAND, (u16)bits); }

void igb_vf_lose(struct igb_vf *vf, const char *what)
{
	vf_command(vf, VF_QUIET);
	vf->state = VF_LOST;
	if (!iommu_isolate(vf->rid))
		panic("VF " RID_FMT " can be neither flushed from the IOMMU nor silenced (%s)", RID_ARG(vf->rid), what);
	vf->attached = false;
	log_line("nic: VF " RID_FMT " of VM %s: %s; it is switched off for good", RID_ARG(vf->rid), vf->vm->cfg->name, what);
	vm_end(vf->vm, 1, "its network device could not be isolated in order (VF " RID_FMT ": %s)", RID_ARG(vf->rid), what);
}

/* Locally administered, unicast, different for each VF, and recognisable: the PF's but for the first byte. */
void igb_vf_default_mac(const struct igb_vf *vf, u8 mac[6])
{
	memcpy(mac, vf->pf->mac, 6);
	mac[0] = (u8)((vf->index + 1) << 2 | 2);
}

static void wanted_mac(const struct igb_vf *vf, const struct nic_config *conf, u8 mac[6])
{
	if (conf && conf->has_mac)
		memcpy(mac, conf->mac, 6);
	else
		igb_vf_default_mac(vf, mac);
}

static bool mac_usable(const struct igb_vf *vf, const u8 mac[6])
{
	static const u8 zero[6];
	if (mac[0] & 1 || !memcmp(mac, zero, 6) || !memcmp(mac, vf->pf->mac, 6))
		return false;
	for (u32 v = 0; v < vf->pf->nr_vfs; v++) {
		const struct igb_vf *other = &vf->pf->vf[v];
		if (other != vf && other->state == VF_OWNED && !memcmp(mac, other->mac, 6))
			return false;
	}
	return true;
}

static int vf_info(struct nic_lower *l, struct nest_nic_info *out)
{
	struct igb_vf *vf = igb_vf_of(l);
	const struct nic_config *conf = l->bound ? l->bound->cfg : NULL;
	spin_lock(&vf->pf->lock);
	igb_link_poll(vf->pf);
	bool up = vf->pf->link_up;
	spin_unlock(&vf->pf->lock);
	*out = (struct nest_nic_info){
		.vlan = conf ? conf->vlan : 0,
		.mode = vf->state != VF_ABSENT && vf->state != VF_LOST,
		.flags = up ? NEST_NIC_LINK_UP : 0,
		.max_frame = IGB_MAX_FRAME - IGB_FCS_LEN,
		.rx_queues = 1, .tx_queues = 1, .irq_vectors = IGB_VF_VECTORS,
		.family = 1,
	};
	wanted_mac(vf, conf, out->mac);
	return 0;
}

/* ---- giving ---- */

/* FREE -> BUSY with the identity that the configuration demands. */
static int vf_claim(struct igb_vf *vf, struct vm *vm, const struct nic_config *conf)
{
	u8 mac[6];
	wanted_mac(vf, conf, mac);
	spin_lock(&vf->pf->lock);
	int r = vf->state == VF_FREE ? 0 : vf->state == VF_OWNED || vf->state == VF_BUSY ? -EBUSY : -ENODEV;
	if (!r && !mac_usable(vf, mac))
		r = -EINVAL;
	if (!r) {
		vf->state = VF_BUSY;
		vf->vm = vm;
		memcpy(vf->mac, mac, 6);
		vf->vlan = conf->vlan;
		vf->frame = IGB_STD_FRAME;
		vf->nr_hashes = 0;
		for (u32 i = 0; i < IGB_VF_VECTORS; i++) {
			vf->irte[i] = -1;
			vf->irq_masked[i] = false;
		}
	}
	spin_unlock(&vf->pf->lock);
	if (r == -ENODEV)
		log_line("nic: VM %s gets no virtual function of " RID_FMT ": %s", vm->cfg->name, RID_ARG(vf->pf->rid),
			 vf->state == VF_LOST ? "it failed before" : vf->pf->why_no_vf);
	if (r == -EINVAL)
		log_line("nic: VM %s: its MAC %02x:%02x:%02x:%02x:%02x:%02x is taken or no unicast address", vm->cfg->name,
			 mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return r;
}

static void vf_set_state(struct igb_vf *vf, enum igb_vf_state state)
{
	spin_lock(&vf->pf->lock);
	vf->state = state;
	spin_unlock(&vf->pf->lock);
}

static void sample_all(void *arg)
{
	struct igb *pf = arg;
	spin_lock(&pf->lock);
	pf->sampling = false;
	for (u32 v = 0; v < pf->nr_vfs; v++)
		if (pf->vf[v].state == VF_OWNED) {
			igb_stats_sample(&pf->vf[v]);
			pf->sampling = true;
		}
	if (pf->sampling)
		timer_arm(&pf->sampler, rdtsc() + us_to_tsc(SAMPLE_US));
	spin_unlock(&pf->lock);
}

static void vf_start(struct igb_vf *vf)
{
	struct igb *pf = vf->pf;
	spin_lock(&pf->lock);
	igb_stats_start(vf);
	igb_pool_open(vf);
	vf->state = VF_OWNED;
	if (!pf->sampling) {
		pf->sampling = true;
		pf->sampler.fn = sample_all;
		pf->sampler.arg = pf;
		timer_arm(&pf->sampler, rdtsc() + us_to_tsc(SAMPLE_US));
	}
	spin_unlock(&pf->lock);
	vf_command(vf, VF_RUN);
}

static int vf_alloc(struct nic_lower *l, struct vm *vm, const struct nic_config *conf, u32 flags)
{
	(void)flags;
	struct igb_vf *vf = igb_vf_of(l);
	int r = vf_claim(vf, vm, conf);
	if (r)
		return r;
	sriov_settle(&vf->pf->sriov);
	vf_command(vf, VF_DECODE);
	r = igb_quiesce(vf);
	if (r)
		goto fail_quiesce;
	igb_scrub(vf);
	r = msix_init(&vf->msix, vf->rid, vf->bar3, 3, IGB_VF_BAR_LEN);
	if (r)
		goto fail_quiesce;
	r = -ENOMEM;
	vf->domain = iommu_domain_create(vm, &vm->owner);
	if (!vf->domain)
		goto fail_quiesce;
	r = iommu_attach(vf->domain, vf->rid);
	if (r)
		goto fail_attach;
	vf->attached = true;
	vf->faults_before = iommu_faults_of(vm);
	vf->irqs_before = __atomic_load_n(&l->bound->nr_irqs, __ATOMIC_RELAXED);
	msix_enable(&vf->msix);
	vf_start(vf);
	return 0;
fail_attach:
	if (r == -EIO) /* a unit does not flush: nobody knows what the device can reach */
		igb_vf_lose(vf, "it could not be attached to its domain");
	iommu_domain_destroy(vf->domain);
	vf->domain = NULL;
fail_quiesce:
	vf_command(vf, VF_QUIET);
	if (vf->state != VF_LOST)
		vf_set_state(vf, VF_FREE);
	log_line("nic: VF " RID_FMT " could not be given to VM %s (error %d)", RID_ARG(vf->rid), vm->cfg->name, -r);
	return r;
}

/* ---- taking back ---- */

/* Stopped, reset, wiped. -EIO: the reset did not finish. */
static int vf_reset(struct igb_vf *vf)
{
	int r = igb_quiesce(vf); /* a queue that does not stop is stopped by the reset */
	vf_command(vf, VF_DECODE);
	r = pci_flr(vf->rid);
	vf_command(vf, VF_DECODE); /* the reset cleared it */
	if (r == -ENOTSUP) {
		igb_wr32(vf->regs, IGB_CTRL, (u32)IGB_CTRL_RST);
		r = igb_quiesce(vf);
	}
	igb_scrub(vf);
	vf_command(vf, VF_QUIET);
	return r ? -EIO : 0;
}

static int vf_free(struct nic_lower *l)
{
	struct igb_vf *vf = igb_vf_of(l);
	struct igb *pf = vf->pf;
	bool lost = vf->state == VF_LOST;
	spin_lock(&pf->lock);
	vf->state = VF_BUSY;
	igb_pool_close(vf);
	spin_unlock(&pf->lock);
	for (u32 i = 0; i < IGB_VF_VECTORS; i++)
		if (vf->irte[i] >= 0)
			igb_irq_clear(l, i);
	if (vf_reset(vf)) {
		log_line("nic: VF " RID_FMT " did not come back from its reset", RID_ARG(vf->rid));
		lost = true;
	}
	if (vf->attached && iommu_detach(vf->domain, vf->rid)) {
		igb_vf_lose(vf, "it could not be detached from its memory");
		lost = true;
	}
	vf->attached = false;
	iommu_domain_destroy(vf->domain);
	vf->domain = NULL;
	vf->vm = NULL;
	vf_set_state(vf, lost ? VF_LOST : VF_FREE);
	return lost ? -EIO : 0;
}

/* ---- while it is given ---- */

/* MAC and VLAN are the configuration's; a guest may only repeat them. */
static int vf_configure(struct nic_lower *l, const struct nest_nic_conf *conf)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (conf->what & ~(NEST_CONF_MAC | NEST_CONF_VLAN | NEST_CONF_MAX_FRAME))
		return -EINVAL;
	if (conf->what & NEST_CONF_MAC && memcmp(conf->mac, vf->mac, 6))
		return -EPERM;
	if (conf->what & NEST_CONF_VLAN && conf->vlan != vf->vlan)
		return -EPERM;
	if (!(conf->what & NEST_CONF_MAX_FRAME))
		return 0;
	if (conf->max_frame < IGB_MIN_FRAME - IGB_FCS_LEN || conf->max_frame > IGB_MAX_FRAME - IGB_FCS_LEN)
		return -EINVAL;
	spin_lock(&vf->pf->lock);
	vf->frame = conf->max_frame + IGB_FCS_LEN;
	igb_pool_update(vf);
	spin_unlock(&vf->pf->lock);
	return 0;
}

static int vf_map_regs(struct nic_lower *l, hpa_t *base)
{
	struct igb_vf *vf = igb_vf_of(l);
	*base = HPA(vf->pf->sriov.bar[0].v + (u64)vf->index * IGB_VF_BAR_LEN);
	return 0;
}

static int vf_unmap_regs(struct nic_lower *l)
{
	(void)l;
	return 0;
}

static int vf_dma_map(struct nic_lower *l, const struct iommu_range *r, u32 n)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (vf->state != VF_OWNED)
		return -EIO;
	int e = iommu_map(vf->domain, r, n);
	if (e == -EIO)
		igb_vf_lose(vf, "a mapping could not be flushed");
	return e;
}

static int vf_dma_unmap(struct nic_lower *l, const struct iommu_range *r, u32 n)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (vf->state != VF_OWNED)
		return -EIO;
	int e = iommu_unmap(vf->domain, r, n);
	if (e == -EIO)
		igb_vf_lose(vf, "an unmapping could not be flushed");
	return e;
}

const struct nic_ops igb_ops = {
	.name = "igb",
	.info = vf_info, .alloc = vf_alloc, .configure = vf_configure,
	.map_regs = vf_map_regs, .unmap_regs = vf_unmap_regs, .reg_read = igb_reg_read, .reg_write = igb_reg_write,
	.dma_map = vf_dma_map, .dma_unmap = vf_dma_unmap,
	.irq_set = igb_irq_set, .irq_mask = igb_irq_mask, .irq_clear = igb_irq_clear,
	.stats = igb_stats, .free = vf_free,
};
