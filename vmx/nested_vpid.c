/*
 * VPIDs of L2 (SDM 3C, VPIDs): those of L1's that are in use, each with one of ours, so that an L1 that goes from one to another and back
 * finds its translations still there.
 *
 * Invariant: what the CPU has cached under a VPID of ours belongs to the VPID of L1's that has it now, or was flushed before the entry
 * that could use it. L2 without a VPID has one of ours of its own, flushed at each entry as the processor would.
 */
#include "vmx/nested_priv.h"

#define NO_VPID 0 /* of L1's: VPIDs are off */

void vpid_create(struct nested *n)
{
	for (u32 i = 0; i < NR_VPID02; i++)
		n->vpid[i] = (struct vpid02){ NO_VPID, vcpu_alloc_vpid() };
}

/* Where a VPID of L1's is, or shall be. */
static u32 slot_of(struct nested *n, u16 vpid12)
{
	u32 i;

	for (i = 1; i < NR_VPID02; i++)
		if (n->vpid[i].vpid12 == vpid12)
			return i;
	for (i = 1; i < NR_VPID02; i++)
		if (n->vpid[i].vpid12 == NO_VPID)
			return i;
	return 1 + n->vpid_next++ % (NR_VPID02 - 1);
}

void vpid_select(struct nested *n, u16 vpid12)
{
	struct vpid02 *p = &n->vpid[vpid12 == NO_VPID ? 0 : slot_of(n, vpid12)];

	if (vpid12 == NO_VPID || p->vpid12 != vpid12)
		ept_flush_vpid(p->vpid02);
	p->vpid12 = vpid12;
	n->vpid12 = vpid12;
	n->vpid02 = p->vpid02;
}

void vpid_forget(struct nested *n, u16 vpid12)
{
	if (n->vpid12 == vpid12)
		n->vpid12 = NO_VPID; /* the next entry selects */
	for (u32 i = 1; i < NR_VPID02; i++)
		if (n->vpid[i].vpid12 == vpid12)
			n->vpid[i].vpid12 = NO_VPID;
}

void vpid_forget_all(struct nested *n)
{
	n->vpid12 = NO_VPID;
	for (u32 i = 1; i < NR_VPID02; i++)
		n->vpid[i].vpid12 = NO_VPID;
}
