/*
 * SR-IOV of any physical function: enable virtual functions and find them (PCIe Base Specification, Single Root I/O
 * Virtualization and Sharing).
 */
#ifndef NIC_SRIOV_H
#define NIC_SRIOV_H

#include "core/pci.h"
#include "core/types.h"

struct sriov {
	rid_t pf;
	u16 cap;             /* offset of the capability */
	u32 nr_vfs;          /* enabled and reachable */
	u16 first, stride;   /* routing IDs of the VFs, relative to the PF's */
	hpa_t bar[6];        /* where each VF BAR's array begins; HPA_NONE: absent */
	u64 bar_len[6];      /* of one VF's share */
	u64 ready_tsc;       /* VFs must not be touched before */
};

/*
 * Enable up to `want` VFs. 0 with at least one VF; -ENOTSUP (no capability), -ENODEV with a reason in *why (no VF BARs
 * assigned, VFs not reachable).
 */
int sriov_enable(struct sriov *s, rid_t pf, u32 want, const char **why);
/* Take all VFs of a PF away, as after a reset; harmless without the capability. */
void sriov_disable(rid_t pf);
static inline rid_t sriov_vf_rid(const struct sriov *s, u32 vf)
{
	return (rid_t){ (u16)(s->pf.v + s->first + vf * s->stride) };
}
/* Wait (bounded) until VFs may be touched after enabling. */
void sriov_settle(const struct sriov *s);

#endif
