/*
 * The life of a virtual function: given to a VM, used, taken back; the 82576's nic_ops.
 *
 * Invariant: a VF masters the bus only while it is attached to a domain of its owner; it is scrubbed before it is given and after it is
 * taken; when its reset or its flush cannot be completed it is silenced and never given again.
 */
#include "core/errno.h"
#include "core/fault.h"
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

/* ---- giving ---- */

/* The VF with the port's own number if that is free, else any; with NEST_ALLOC_OTHER, the port's last one comes last. */
static struct igb_vf *vf_choose(const struct igb_port *p, u32 flags)
{
	u32 preferred = flags & NEST_ALLOC_OTHER && p->last_vf < IGB_MAX_VFS ? p->last_vf + 1 : p->index;
	for (u32 i = 0; i < IGB_MAX_VFS; i++) {
		struct igb_vf *vf = &p->pf->vf[(preferred + i) % IGB_MAX_VFS];
		if (vf->state == VF_FREE)
			return vf;
	}
	return NULL;
}

static void vf_bind(struct igb_vf *vf, struct igb_port *p, struct vm *vm)
{
	vf->state = VF_BUSY;
	vf->vm = vm;
	vf->port = p;
	vf->groups_open = vf->quiesced = false;
	p->vf = vf;
	igb_port_forget(p);
	for (u32 i = 0; i < IGB_VF_VECTORS; i++) {
		vf->irte[i] = -1;
		vf->irq_masked[i] = false;
	}
}

static void vf_unbind(struct igb_vf *vf, enum igb_vf_state state)
{
	spin_lock(&vf->pf->lock);
	vf->state = state;
	vf->port->vf = NULL;
	vf->port = NULL;
	vf->vm = NULL;
	spin_unlock(&vf->pf->lock);
}

static const char *why_none(const struct igb *pf)
{
	if (!pf->nr_vfs)
		return pf->why_no_vf;
	for (u32 v = 0; v < pf->nr_vfs; v++)
		if (pf->vf[v].state != VF_LOST)
			return "all are given";
	return "all failed before";
}

/* FREE -> BUSY, with the identity that the configuration demands. */
static int vf_claim(struct igb_port *p, struct vm *vm, const struct nic_config *conf, u32 flags)
{
	if (fault_point("igb: VF claim"))
		return -ENODEV;
	spin_lock(&p->pf->lock);
	struct igb_vf *vf = vf_choose(p, flags);
	int r = p->vf ? -EBUSY : vf ? igb_port_identify(p, conf) : -ENODEV;
	if (!r)
		vf_bind(vf, p, vm);
	spin_unlock(&p->pf->lock);
	if (r == -ENODEV)
		log_line("nic: VM %s gets no virtual function of " RID_FMT ": %s", vm->cfg->name, RID_ARG(p->pf->rid), why_none(p->pf));
	if (r == -EINVAL)
		igb_port_refused(p, vm);
	return r;
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

static void sample_from_now_on(struct igb *pf)
{
	if (pf->sampling)
		return;
	pf->sampling = true;
	pf->sampler.fn = sample_all;
	pf->sampler.arg = pf;
	timer_arm(&pf->sampler, rdtsc() + us_to_tsc(SAMPLE_US));
}

/* Parked, it takes nothing at all until a transaction opens it; else the port's frames are its own from here on. */
static void vf_start(struct igb_vf *vf, bool parked)
{
	struct igb *pf = vf->pf;
	spin_lock(&pf->lock);
	igb_stats_start(vf);
	vf->groups_open = !parked;
	igb_pool_open(vf);
	vf->state = VF_OWNED;
	vf->port->last_vf = vf->index;
	sample_from_now_on(pf);
	spin_unlock(&pf->lock);
	if (!parked)
		igb_route_vf(vf->port);
	vf_command(vf, VF_RUN);
}

/* Its memory: none yet. */
static int vf_isolate(struct igb_vf *vf)
{
	vf->domain = fault_point("igb: VF domain") ? NULL : iommu_domain_create(vf->vm, &vf->vm->owner);
	if (!vf->domain)
		return -ENOMEM;
	int r = fault_point("igb: VF attach") ? -ENOMEM : iommu_attach(vf->domain, vf->rid);
	vf->attached = !r;
	if (!r)
		return 0;
	if (r == -EIO) /* a unit does not flush: nobody knows what the device can reach */
		igb_vf_lose(vf, "it could not be attached to its domain");
	iommu_domain_destroy(vf->domain);
	vf->domain = NULL;
	return r;
}

static int vf_alloc(struct nic_lower *l, struct vm *vm, const struct nic_config *conf, u32 flags)
{
	struct igb_port *p = igb_port_of(l);
	if (!igb_port_taggable(p)) {
		log_limited(8, "nic: VM %s gets no virtual function for its port: the switch is external, and port%u has no S-VID ([nic %u], svid)",
			    vm->cfg->name, l->index, p->pf->index);
		return -EPERM;
	}
	int r = vf_claim(p, vm, conf, flags);
	if (r)
		return r;
	struct igb_vf *vf = p->vf;
	sriov_settle(&vf->pf->sriov);
	vf_command(vf, VF_DECODE);
	r = fault_point("igb: VF stops before it is given") ? -ETIMEDOUT : igb_quiesce(vf);
	if (!r) {
		igb_scrub(vf);
		r = fault_point("igb: VF MSI-X table") ? -ENOTSUP : msix_init(&vf->msix, vf->rid, vf->bar3, 3, IGB_VF_BAR_LEN);
	}
	if (!r)
		r = vf_isolate(vf);
	if (r) {
		vf_command(vf, VF_QUIET);
		log_line("nic: VF " RID_FMT " could not be given to VM %s (error %d)", RID_ARG(vf->rid), vm->cfg->name, -r);
		vf_unbind(vf, vf->state == VF_LOST ? VF_LOST : VF_FREE);
		return r;
	}
	vf->faults_before = iommu_faults_of(vm);
	msix_enable(&vf->msix);
	vf_start(vf, flags & NEST_ALLOC_PARKED);
	return 0;
}

/* ---- taking back ---- */

/* A function-level reset, after which the registers answer. */
static int vf_flr(struct igb_vf *vf)
{
	vf_command(vf, VF_DECODE);
	int r = pci_flr(vf->rid);
	vf_command(vf, VF_DECODE); /* the reset cleared it */
	return r;
}

/*
 * Stopped, reset, wiped. -EIO: the reset did not finish. Moderation (EITR) of the emulated NIC outlives a reset: an interrupt that it held
 * back becomes pending after it, and would be the next owner's. It has run out by the end of the reset's own time; a second reset then
 * takes the pending bit away for good.
 */
static int vf_reset(struct igb_vf *vf)
{
	int r = igb_quiesce(vf); /* a queue that does not stop is stopped by the reset */
	r = vf_flr(vf);
	if (!r && msix_any_pending(&vf->msix))
		r = vf_flr(vf);
	if (r == -ENOTSUP) {
		igb_wr32(vf->regs, IGB_CTRL, (u32)IGB_CTRL_RST);
		r = igb_quiesce(vf);
	}
	igb_scrub(vf);
	vf_command(vf, VF_QUIET);
	return r ? -EIO : 0;
}

/* The emulated device has the port's frames again before the VF loses its pool. */
static int vf_free(struct nic_lower *l)
{
	struct igb_port *p = igb_port_of(l);
	struct igb_vf *vf = p->vf;
	struct igb *pf = vf->pf;
	bool lost = vf->state == VF_LOST;
	igb_route_fall_back(p);
	spin_lock(&pf->lock);
	vf->state = VF_BUSY;
	igb_pool_close(vf);
	igb_stats_sample(vf); /* all that it sent or took counts */
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
	p->faults += iommu_faults_of(vf->vm) - vf->faults_before;
	vf_unbind(vf, lost ? VF_LOST : VF_FREE);
	return lost ? -EIO : 0;
}

/* ---- while it is given ---- */

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
	int e = fault_point("igb: VF memory map") ? -ENOMEM : iommu_map(vf->domain, r, n);
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
	.info = igb_info, .alloc = vf_alloc, .configure = igb_configure,
	.map_regs = vf_map_regs, .unmap_regs = vf_unmap_regs, .reg_read = igb_reg_read, .reg_write = igb_reg_write,
	.dma_map = vf_dma_map, .dma_unmap = vf_dma_unmap,
	.irq_set = igb_irq_set, .irq_mask = igb_irq_mask, .irq_post = igb_irq_post, .irq_clear = igb_irq_clear,
	.stats = igb_stats, .free = vf_free,
	.quiesce = igb_state_quiesce, .resume = igb_state_resume, .save = igb_state_save, .restore = igb_state_restore,
	.prepare = igb_prepare, .commit = igb_commit, .abort = igb_abort, .plugin = igb_plugin,
	.data = &igb_data_ops,
};
