/*
 * EPT entries and capabilities (SDM 3C, The Extended Page Table Mechanism); the walker is core/ptab.
 */
#ifndef VMX_EPT_H
#define VMX_EPT_H

#include "core/abi.h"
#include "core/ptab.h"
#include "core/vm.h"

#define EPT_READ BIT(0)
#define EPT_WRITE BIT(1)
#define EPT_EXEC BIT(2)
#define EPT_RWX (EPT_READ | EPT_WRITE | EPT_EXEC)
#define EPT_MEMTYPE BITS(5, 3)
#define EPT_IPAT BIT(6)
#define EPT_PAGE BIT(7)
#define EPT_ACCESSED BIT(8)
#define EPT_DIRTY BIT(9)
#define EPT_EXEC_USER BIT(10) /* with mode-based execute control; EPT_EXEC is then for supervisor mode */
#define EPT_ADDR BITS(51, 12)
#define EPTP_AD BIT(6) /* of an EPTP: accessed and dirty flags */
#define MEMTYPE_UC 0
#define MEMTYPE_WB 6
/* Exit qualification of an EPT violation */
#define EPT_QUAL_READ BIT(0)
#define EPT_QUAL_WRITE BIT(1)
#define EPT_QUAL_FETCH BIT(2)
#define EPT_QUAL_PERMS BITS(5, 3)
#define EPT_QUAL_PERM_USER BIT(6) /* execute for user mode; with mode-based execute control only */
#define EPT_QUAL_LINEAR_VALID BIT(7)
#define EPT_QUAL_TRANSLATED BIT(8)
#define EPT_QUAL_NMI_UNBLOCK BIT(12)

extern const struct ptab_fmt ept_fmt;
/* Leaf flags: permissions EPT_*, memory type MEMTYPE_*. */
static inline u64 ept_leaf_flags(u64 perm, u64 memtype) { return perm | FIELD_PREP(EPT_MEMTYPE, memtype); }
/* EPTP for a table of ours: 4 levels, WB; nobody would read A/D flags, and an outer that has to set them for us pays for each page. */
u64 ept_pointer(const struct ptab *pt);
/* vm_arch hooks. */
int ept_vm_init(struct vm *vm);
u64 ept_ram_flags(void);
u64 ept_device_flags(void);
/* Flush everything derived from the VM's EPT on all CPUs where its vCPUs run, and wait until done. */
void ept_flush_vm(struct vm *vm);
/*
 * Tell the outer, if it wants to know, what guests by this EPTP of ours will use: HC_EPT_PREMAP, and what it answers. For the calling
 * CPU; lasts over flushes. No effect otherwise.
 */
s64 ept_declare(u64 eptp, const struct nest_premap *range, u32 nr, u64 height);
/* The same for a VM's own RAM. */
void ept_declare_vm(const struct vm *vm);
/* Forget the linear translations of a VPID on this CPU. */
void ept_flush_vpid(u16 vpid);
/* INVEPT single context (or all, where single is absent) on this CPU. */
void ept_flush_here(u64 eptp);

#endif
