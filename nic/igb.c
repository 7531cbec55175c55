/*
 * The Intel 82576 as found on the bus: from a PCI function to lower ports.
 *
 * Invariant: without an IOMMU that remaps interrupts no virtual function is enabled; the NIC's ports then work in emulation only, and
 * the console says why they cannot pass through. Where there is an IOMMU, the PF reaches its own rings and buffers only.
 */
#include "core/errno.h"
#include "nic/igb.h"
#include "nic/port.h"

#define VENDOR_QEMU 0x1af4 /* subsystem vendor of what QEMU emulates */

_Static_assert(IGB_MAX_PORTS == CFG_NIC_PORTS, "S-VIDs in a section [nic N]");

static struct igb igbs[IGB_MAX_PFS];
static u32 nr_igbs;

/* Copper ports of the family; fibre and SerDes need another link set-up. */
static const u32 igb_ids[] = { 0x808610c9, 0x808610e8, 0x80861526, 0x8086150a, 0 };

static volatile u8 *map_bar(rid_t rid, u32 index, u64 need)
{
	hpa_t base;
	u64 len;
	if (pci_bar(rid, (u16)(PCI_BAR0 + 4 * index), &base, &len) || len < need || !base.v)
		return NULL;
	return mmio_map(base, len);
}

/* Registers of all VFs, for us. */
static int map_vfs(struct igb *pf)
{
	const struct sriov *s = &pf->sriov;
	if (s->bar_len[0] != IGB_VF_BAR_LEN || s->bar[3].v == HPA_NONE.v || s->bar_len[3] != IGB_VF_BAR_LEN)
		return -ENODEV;
	volatile u8 *regs = mmio_map(s->bar[0], (u64)s->nr_vfs * IGB_VF_BAR_LEN);
	volatile u8 *tables = mmio_map(s->bar[3], (u64)s->nr_vfs * IGB_VF_BAR_LEN);
	if (!regs || !tables)
		return -ENOMEM;
	for (u32 v = 0; v < s->nr_vfs; v++) {
		struct igb_vf *vf = &pf->vf[v];
		vf->regs = regs + v * IGB_VF_BAR_LEN;
		vf->bar3 = tables + v * IGB_VF_BAR_LEN;
		vf->rid = sriov_vf_rid(s, v);
		vf->state = VF_FREE;
		int r = iommu_vf_declare(vf->rid, pf->rid);
		if (r)
			return r;
	}
	pf->nr_vfs = s->nr_vfs;
	return 0;
}

static void enable_vfs(struct igb *pf)
{
	const struct iommu_info *iommu = iommu_info();
	if (!iommu->present || !iommu->remapping) {
		pf->why_no_vf = iommu->why_not ? iommu->why_not : "no IOMMU with interrupt remapping";
		return;
	}
	pf->why_no_vf = pci_has_ecam() ? "it has no SR-IOV" : "SR-IOV cannot be reached without a valid ACPI table MCFG";
	if (sriov_enable(&pf->sriov, pf->rid, IGB_MAX_VFS, &pf->why_no_vf))
		return;
	pf->why_no_vf = "its virtual functions have an unexpected layout";
	if (map_vfs(pf))
		sriov_disable(pf->rid);
}

/*
 * The PF masters the bus for its own queues and interrupts, confined to a domain of ours if there is an IOMMU. Then the VFs: without
 * the PF's interrupt nobody would notice their resets. Last the PF's queues: enabling VFs decides whose requester IDs queues use.
 */
static void enable_functions(struct igb *pf)
{
	int data = igb_data_init(pf);
	if (data)
		log_line("nic: igb " RID_FMT ": no memory for its own queues can be set up (error %d)", RID_ARG(pf->rid), -data);
	else if (!iommu_info()->present)
		log_line("nic: igb " RID_FMT ": there is no IOMMU, so the physical function is trusted to keep to its rings",
			 RID_ARG(pf->rid));
	pci_write16(pf->rid, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	int irq = igb_pf_irq_init(pf);
	pf->why_no_vf = "its interrupt could not be set up";
	if (irq && !iommu_info()->present) /* whatever it does wrong, it reaches memory */
		pci_write16(pf->rid, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_INTX_DISABLE);
	if (!irq)
		enable_vfs(pf);
	if (!irq && !data)
		data = igb_ring_start(pf);
	if (!pf->ring.ready)
		log_line("nic: igb " RID_FMT ": its ports carry no frames in emulation (error %d)", RID_ARG(pf->rid), irq ? -irq : -data);
}

static int add_ports(struct igb *pf)
{
	int first = -ENOSPC;
	for (u32 n = 0; n < IGB_MAX_PORTS; n++) {
		int i = nic_lower_add(&igb_ops, &pf->port[n]);
		if (i < 0)
			break;
		struct nic_lower *l = nic_lower_get((u32)i);
		l->wire = true;
		pf->port[n].lower = l;
		if (!n)
			first = i;
	}
	return first;
}

static void announce_channels(const struct igb *pf, int first)
{
	char list[160] = "";
	for (u32 n = 0, at = 0; n < IGB_MAX_PORTS && at < sizeof(list); n++)
		if (pf->svid[n])
			at += (u32)format(list + at, sizeof(list) - at, ", port%d in S-channel %u", first + (int)n, pf->svid[n]);
	log_line("nic: igb " RID_FMT ": its switch is external%s%s", RID_ARG(pf->rid), list, *list ? "" : ", no port has an S-channel");
}

static void announce(const struct igb *pf, int first)
{
	if (pf->external)
		announce_channels(pf, first);
	log_line("nic: igb " RID_FMT ", MAC %02x:%02x:%02x:%02x:%02x:%02x, link %s", RID_ARG(pf->rid), pf->mac[0], pf->mac[1],
		 pf->mac[2], pf->mac[3], pf->mac[4], pf->mac[5], pf->link_up ? "up" : "being negotiated");
	if (pf->nr_vfs)
		log_line("nic: igb " RID_FMT ": port%d to port%d, with %u virtual functions from " RID_FMT " on", RID_ARG(pf->rid), first,
			 first + IGB_MAX_PORTS - 1, pf->nr_vfs, RID_ARG(pf->vf[0].rid));
	else
		log_line("nic: igb " RID_FMT ": port%d to port%d cannot pass through: %s", RID_ARG(pf->rid), first,
			 first + IGB_MAX_PORTS - 1, pf->why_no_vf);
}

static int bring_up(struct igb *pf)
{
	int bir = msix_table_bar(pf->rid);
	volatile u8 *tables = bir < 0 ? NULL : map_bar(pf->rid, (u32)bir, 0x1000);
	pf->regs = map_bar(pf->rid, 0, 0x20000);
	if (!pf->regs || !tables || msix_init(&pf->msix, pf->rid, tables, (u32)bir, 0x1000))
		return -ENODEV;
	sriov_disable(pf->rid);
	pci_write16(pf->rid, PCI_COMMAND, PCI_COMMAND_MEM | PCI_COMMAND_INTX_DISABLE);
	int r = igb_reset(pf);
	if (r)
		return r;
	igb_setup_switch(pf);
	enable_functions(pf);
	r = igb_link_start(pf);
	if (r)
		log_line("nic: igb " RID_FMT ": autonegotiation could not be restarted (error %d); going on with the link as it is",
			 RID_ARG(pf->rid), -r);
	igb_link_poll(pf);
	return 0;
}

static void configure_switch(struct igb *pf, const struct switch_config *conf)
{
	pf->external = conf && conf->external;
	for (u32 n = 0; n < IGB_MAX_PORTS; n++)
		pf->svid[n] = pf->external ? conf->svid[n] : 0;
}

static int igb_probe(rid_t rid, u32 number, const struct switch_config *conf)
{
	if (nr_igbs == IGB_MAX_PFS)
		return -ENOSPC;
	struct igb *pf = &igbs[nr_igbs];
	*pf = (struct igb){ .index = number, .rid = rid };
	configure_switch(pf, conf);
	for (u32 v = 0; v < IGB_MAX_VFS; v++)
		pf->vf[v] = (struct igb_vf){ .pf = pf, .index = v, .state = VF_ABSENT };
	for (u32 n = 0; n < IGB_MAX_PORTS; n++)
		pf->port[n] = (struct igb_port){ .pf = pf, .index = n, .last_vf = IGB_MAX_VFS };
	pf->is_model = pci_read16(rid, PCI_SUBSYSTEM_VENDOR) == VENDOR_QEMU;
	int r = bring_up(pf);
	if (r) {
		log_line("nic: igb " RID_FMT " does not work (error %d); left alone", RID_ARG(rid), -r);
		pci_write16(rid, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
		return r;
	}
	nr_igbs++;
	announce(pf, add_ports(pf));
	return 0;
}

const struct nic_driver igb_driver = { .name = "igb", .ids = igb_ids, .probe = igb_probe };
