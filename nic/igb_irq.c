/*
 * Interrupts of the 82576: the VFs' through their IRTEs and MSI-X tables, and the PF's own for link and mailbox.
 *
 * Invariant: a VF's MSI-X entry is written by us only and names an IRTE of that VF; retargeting changes the IRTE, not the entry.
 */
#include "core/errno.h"
#include "core/fault.h"
#include "core/irq.h"
#include "core/percpu.h"
#include "nic/igb.h"

#define PF_CPU 0

static void write_entry(struct igb_vf *vf, u32 index)
{
	u64 addr;
	u32 data;
	iommu_irq_message(vf->irte[index], &addr, &data);
	msix_set(&vf->msix, index, addr, data, vf->irq_masked[index]);
}

int igb_irq_set(struct nic_lower *l, u32 index, const struct nic_irq_request *req)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (index >= IGB_VF_VECTORS || req->cpu >= nr_cpus)
		return -EINVAL;
	bool fresh = vf->irte[index] < 0;
	int handle = !fresh ? vf->irte[index] : fault_point("igb: VF interrupt allotted") ? -ENOSPC : iommu_irq_alloc(vf->rid);
	if (handle < 0)
		return handle;
	int r = fault_point("igb: VF interrupt routed") ? -ENOSPC : iommu_irq_set(handle, cpus[req->cpu].apic_id, req->host_vector);
	if (r) {
		if (r == -EIO)
			igb_vf_lose(vf, "its interrupt could not be redirected");
		if (fresh)
			iommu_irq_free(handle);
		return r;
	}
	vf->irte[index] = handle;
	if (fresh)
		write_entry(vf, index);
	return 0;
}

int igb_irq_mask(struct nic_lower *l, u32 index, bool mask)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (index >= IGB_VF_VECTORS || vf->irte[index] < 0)
		return -EINVAL;
	vf->irq_masked[index] = mask;
	msix_mask(&vf->msix, index, mask);
	return 0;
}

int igb_irq_clear(struct nic_lower *l, u32 index)
{
	struct igb_vf *vf = igb_vf_of(l);
	if (index >= IGB_VF_VECTORS || vf->irte[index] < 0)
		return -EINVAL;
	msix_set(&vf->msix, index, 0, 0, true);
	iommu_irq_free(vf->irte[index]);
	vf->irte[index] = -1;
	vf->irq_masked[index] = false;
	return 0;
}

/* ---- the PF's own ---- */

static void pf_irq(void *arg, u8 vector)
{
	struct igb *pf = arg;
	(void)vector;
	spin_lock(&pf->lock);
	u32 cause = igb_read(pf, IGB_ICR); /* reading clears */
	if (cause & IGB_ICR_LSC && igb_link_poll(pf))
		for (u32 v = 0; v < pf->nr_vfs; v++)
			if (pf->vf[v].state == VF_OWNED)
				igb_mbx_ping(&pf->vf[v]);
	if (cause & IGB_ICR_VMMB)
		igb_mbx_service(pf);
	igb_write(pf, IGB_EIMS, BIT(0));
	spin_unlock(&pf->lock);
}

int igb_pf_irq_init(struct igb *pf)
{
	u64 addr;
	u32 data;
	pf->vector = irq_alloc(PF_CPU, pf_irq, pf);
	if (pf->vector < 0)
		return pf->vector;
	pf->irte = iommu_irq_alloc(pf->rid);
	int r = pf->irte;
	if (r < 0)
		goto fail_irte;
	r = iommu_irq_set(pf->irte, cpus[PF_CPU].apic_id, (u8)pf->vector);
	if (r)
		goto fail_set;
	msix_enable(&pf->msix);
	iommu_irq_message(pf->irte, &addr, &data);
	msix_set(&pf->msix, 0, addr, data, false);
	igb_setup_irq(pf);
	return 0;
fail_set:
	iommu_irq_free(pf->irte);
fail_irte:
	irq_free(PF_CPU, (u8)pf->vector);
	return r;
}
