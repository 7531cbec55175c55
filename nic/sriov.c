/*
 * SR-IOV: enabling virtual functions.
 *
 * Invariant: VFs are enabled with bus mastering off, after the number of VFs and the ARI mode are set, because both fix
 * their routing IDs; the 100 ms that the specification asks for afterwards are waited by the first user, not by the boot.
 */
#include "nic/sriov.h"

#include "core/errno.h"
#include "core/time.h"

#define SRIOV_CONTROL 0x08
#define SRIOV_CONTROL_VFE BIT(0)
#define SRIOV_CONTROL_MSE BIT(3)
#define SRIOV_CONTROL_ARI BIT(4)
#define SRIOV_TOTAL_VFS 0x0e
#define SRIOV_NUM_VFS 0x10
#define SRIOV_FIRST_VF 0x14
#define SRIOV_VF_STRIDE 0x16
#define SRIOV_PAGE_SIZE 0x20
#define SRIOV_PAGE_SIZE_4K 1
#define SRIOV_VF_BAR0 0x24
#define SRIOV_SETTLE_US 100000

#define EXP_FLAGS 0x02
#define EXP_FLAGS_VERSION BITS(3, 0)
#define EXP_DEVCAP2 0x24
#define EXP_DEVCAP2_ARI BIT(5)
#define EXP_DEVCTL2 0x28
#define EXP_DEVCTL2_ARI BIT(5)

#define BAR_64BIT BIT(2)

static const struct pci_dev *bridge_above(rid_t pf)
{
	const struct pci_dev *d = pci_find_rid(pf);
	return d && d->parent >= 0 ? pci_get((u32)d->parent) : NULL;
}

/*
 * Functions above 7 on one bus are reachable only if the port above forwards ARI requests (PCIe, Alternative Routing-ID
 * Interpretation). On a root bus there is nobody to ask, and an integrated device needs nothing.
 */
static bool ari_enable(rid_t pf)
{
	const struct pci_dev *b = bridge_above(pf);
	if (!pci_find_ext_cap(pf, PCI_EXT_CAP_ID_ARI) || !b)
		return false;
	u16 exp = pci_find_cap(b->rid, PCI_CAP_ID_EXP);
	if (!exp || FIELD_GET(EXP_FLAGS_VERSION, pci_read16(b->rid, (u16)(exp + EXP_FLAGS))) < 2 ||
	    !(pci_read32(b->rid, (u16)(exp + EXP_DEVCAP2)) & EXP_DEVCAP2_ARI))
		return false;
	u16 ctl = pci_read16(b->rid, (u16)(exp + EXP_DEVCTL2));
	pci_write16(b->rid, (u16)(exp + EXP_DEVCTL2), (u16)(ctl | EXP_DEVCTL2_ARI));
	return true;
}

static void read_bars(struct sriov *s)
{
	for (u32 i = 0; i < 6; i++)
		s->bar[i] = HPA_NONE;
	for (u32 i = 0; i < 6; i++) {
		u16 off = (u16)(s->cap + SRIOV_VF_BAR0 + 4 * i);
		bool wide = pci_read32(s->pf, off) & BAR_64BIT;
		if (pci_bar(s->pf, off, &s->bar[i], &s->bar_len[i]) || !s->bar[i].v)
			s->bar[i] = HPA_NONE;
		if (wide)
			i++;
	}
}

/* VFs whose bus number the bridge above passes down to this bus. */
static u32 count_reachable(const struct sriov *s, u32 n)
{
	const struct pci_dev *b = bridge_above(s->pf);
	u32 i;
	for (i = 0; i < n; i++) {
		u32 rid = s->pf.v + s->first + i * s->stride;
		if (rid > 0xffff || (b ? rid >> 8 > b->subordinate : rid >> 8 != s->pf.v >> 8))
			break;
	}
	return i;
}

void sriov_disable(rid_t pf)
{
	u16 cap = pci_find_ext_cap(pf, PCI_EXT_CAP_ID_SRIOV);
	if (cap && pci_read16(pf, (u16)(cap + SRIOV_CONTROL)) & SRIOV_CONTROL_VFE)
		pci_write16(pf, (u16)(cap + SRIOV_CONTROL), 0);
}

int sriov_enable(struct sriov *s, rid_t pf, u32 want, const char **why)
{
	*s = (struct sriov){ .pf = pf, .cap = pci_find_ext_cap(pf, PCI_EXT_CAP_ID_SRIOV) };
	if (!s->cap)
		return -ENOTSUP;
	pci_acs_enable(pf); /* before a VF exists that a VM could send across the switch above it */
	u16 control = ari_enable(pf) ? SRIOV_CONTROL_ARI : 0;
	pci_write16(pf, (u16)(s->cap + SRIOV_CONTROL), control);
	pci_write32(pf, (u16)(s->cap + SRIOV_PAGE_SIZE), SRIOV_PAGE_SIZE_4K);
	read_bars(s);
	if (s->bar[0].v == HPA_NONE.v) {
		*why = "the firmware gave its virtual functions no addresses (enable SR-IOV in the firmware's set-up)";
		return -ENODEV;
	}
	u32 n = MIN(want, (u32)pci_read16(pf, (u16)(s->cap + SRIOV_TOTAL_VFS)));
	pci_write16(pf, (u16)(s->cap + SRIOV_NUM_VFS), (u16)n);
	s->first = pci_read16(pf, (u16)(s->cap + SRIOV_FIRST_VF));
	s->stride = pci_read16(pf, (u16)(s->cap + SRIOV_VF_STRIDE));
	s->nr_vfs = s->first ? count_reachable(s, n) : 0;
	if (!s->nr_vfs) {
		*why = "its virtual functions lie on a bus that the bridge above does not pass on";
		return -ENODEV;
	}
	pci_write16(pf, (u16)(s->cap + SRIOV_NUM_VFS), (u16)s->nr_vfs);
	pci_write16(pf, (u16)(s->cap + SRIOV_CONTROL), (u16)(control | SRIOV_CONTROL_VFE | SRIOV_CONTROL_MSE));
	s->ready_tsc = rdtsc() + us_to_tsc(SRIOV_SETTLE_US);
	return 0;
}

void sriov_settle(const struct sriov *s)
{
	bool settled = wait_until(rdtsc() >= s->ready_tsc, SRIOV_SETTLE_US);
	(void)settled; /* the condition is the deadline itself */
}
