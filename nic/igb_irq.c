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

/* The remapping entry names our vector on the vCPU's CPU, posted or not. */
int igb_irq_post(struct nic_lower *l, u32 index, hpa_t page)
{
	(void)page;
	return index >= IGB_VF_VECTORS || igb_vf_of(l)->irte[index] < 0 ? -EINVAL : 0;
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

/* The ports hear of a new link outside our lock: they take their own. */
static void tell_ports(struct igb *pf)
{
	for (u32 i = 0; i < IGB_MAX_PORTS; i++) {
		struct nic_port *bound = pf->port[i].lower ? READ_ONCE(pf->port[i].lower->bound) : NULL;
		if (bound)
			nic_port_changed(bound);
	}
}

static bool link_is_news(struct igb *pf)
{
	igb_link_poll(pf);
	if (pf->link_told == pf->link_changes)
		return false;
	pf->link_told = pf->link_changes;
	for (u32 v = 0; v < pf->nr_vfs; v++)
		if (pf->vf[v].state == VF_OWNED)
			igb_mbx_ping(&pf->vf[v]);
	return true;
}

static void pf_irq(void *arg, u8 vector)
{
	struct igb *pf = arg;
	(void)vector;
	spin_lock(&pf->lock);
	u32 cause = igb_read(pf, IGB_ICR); /* reading clears */
	bool news = cause & IGB_ICR_LSC && link_is_news(pf);
	if (cause & IGB_ICR_VMMB)
		igb_mbx_service(pf);
	igb_write(pf, IGB_EIMS, BIT(IGB_PF_VECTOR_OTHER));
	spin_unlock(&pf->lock);
	if (news)
		tell_ports(pf);
}

/* An interrupt that is not remapped reaches the CPU as it was sent (SDM 3A, Message Signalled Interrupts). */
#define MSI_ADDRESS 0xfee00000u
#define MSI_MAX_APIC_ID 255u

static int plain_message(u8 vector, u64 *addr, u32 *data)
{
	u32 id = cpus[PF_CPU].apic_id;
	if (id >= MSI_MAX_APIC_ID)
		return -ENOTSUP;
	*addr = MSI_ADDRESS | (u64)id << 12;
	*data = vector;
	return 0;
}

static int remapped_message(struct igb *pf, u8 vector, u64 *addr, u32 *data)
{
	int irte = iommu_irq_alloc(pf->rid);
	if (irte < 0)
		return irte;
	int r = iommu_irq_set(irte, cpus[PF_CPU].apic_id, vector);
	if (r)
		iommu_irq_free(irte);
	else
		iommu_irq_message(irte, addr, data);
	return r;
}

static int pf_vector(struct igb *pf, u32 entry, irq_fn fn)
{
	u64 addr = 0;
	u32 data = 0;
	int vector = irq_alloc(PF_CPU, fn, pf);
	if (vector < 0)
		return vector;
	int r = iommu_info()->remapping ? remapped_message(pf, (u8)vector, &addr, &data) : plain_message((u8)vector, &addr, &data);
	if (r)
		irq_free(PF_CPU, (u8)vector);
	else
		msix_set(&pf->msix, entry, addr, data, false);
	return r;
}

/* Half of it is no use, but stays: these vectors are for the machine's life. */
int igb_pf_irq_init(struct igb *pf)
{
	msix_enable(&pf->msix);
	int r = pf_vector(pf, IGB_PF_VECTOR_OTHER, pf_irq);
	if (!r)
		r = pf_vector(pf, IGB_PF_VECTOR_RX, igb_data_irq);
	if (!r)
		igb_setup_irq(pf);
	return r;
}
