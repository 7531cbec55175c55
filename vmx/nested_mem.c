/*
 * Memory operands of VMX instructions of L1, and of L2's VMREAD and VMWRITE: their addresses (SDM 3C, Instruction-Information
 * Field) and accesses through the own paging of the level that executes them, with its faults; L2's through ept12, too.
 *
 * Invariant: only RAM of the VM is touched; a wrong operand ends in the exception that the processor would raise (#GP, #SS, #PF
 * with its error code and CR2), or in an EPT violation for L1, and then nothing has been written.
 */
#include <string.h>

#include "core/x86.h"
#include "vmx/nested_priv.h"

/* ---- L1's paging (SDM 3A, Paging) ---- */
#define PTE_PRESENT BIT(0)
#define PTE_WRITE BIT(1)
#define PTE_USER BIT(2)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY BIT(6)
#define PTE_PS BIT(7)
#define PTE_ADDR BITS(51, 12)
#define RFLAGS_AC BIT(18)
#define PF_PRESENT BIT(0)
#define PF_WRITE BIT(1)
#define PF_RESERVED BIT(3)

/* One walk: the mode it runs in and what it has found so far. */
struct l1_walk {
	u64 linear;
	bool write;
	u64 cr0, cr4;
	u32 levels, entry_size; /* 4- or 5-level, PAE: 3 (the top one is in registers), 32-bit: 2 */
	bool writable, user;
	u64 gpa;
	u32 error;
	bool exited;            /* ept12 forbids it: L1 runs already */
};

/* L2 reaches what ept12 lets it reach; the rest is an exit to L1 (SDM 3C, Exit Qualification for EPT Violations). False: it happened. */
static bool ept12_allows(struct vcpu *v, struct l1_walk *w, u64 gpa, bool table)
{
	bool write = table ? v->nested->v12.EPTP & EPTP_AD : w->write;
	struct ept12_walk e;

	if (!nested_in_l2(v) || !proc2_12(&v->nested->v12, PROC2_EPT))
		return true;
	ept12_walk(v, ept12_key(&v->nested->v12), gpa, &e);
	if (e.result == L2_FAULT_FILLED && (e.perm & EPT_READ) && (!write || (e.perm & EPT_WRITE)))
		return true;
	u64 access = table ? EPT_QUAL_READ | (write ? EPT_QUAL_WRITE : 0) : write ? EPT_QUAL_WRITE : EPT_QUAL_READ;
	struct exit_info i = { .reason = XR_EPT_MISCONFIG, .physical = gpa };
	if (e.result != L2_FAULT_MISCONFIG) {
		i.reason = XR_EPT_VIOLATION;
		i.linear = w->linear;
		i.qualification = access | FIELD_PREP(EPT_QUAL_PERMS, e.perm & EPT_RWX) | EPT_QUAL_LINEAR_VALID | (table ? 0 : EPT_QUAL_TRANSLATED);
	}
	reflect(v, &i);
	w->exited = true;
	return false;
}

static void *entry_map(struct vcpu *v, u64 gpa, u32 size, bool write)
{
	hpa_t a = nested_in_l2(v) ? nested_l2_gpa_to_hpa(v, gpa, write) : l1_gpa_to_hpa(v, gpa, size);

	return a.v == HPA_NONE.v ? NULL : hpa_to_virt(a);
}

static u64 entry_read(const void *e, u32 size) { return size == 8 ? READ_ONCE(*(const u64 *)e) : READ_ONCE(*(const u32 *)e); }

static void entry_mark(void *e, u32 size, u64 bits)
{
	if (size == 8)
		__atomic_or_fetch((u64 *)e, bits, __ATOMIC_SEQ_CST);
	else
		__atomic_or_fetch((u32 *)e, (u32)bits, __ATOMIC_SEQ_CST);
}

static u32 level_shift(const struct l1_walk *w, u32 level) { return 12 + (w->entry_size == 8 ? 9 : 10) * (level - 1); }

static bool is_leaf(const struct l1_walk *w, u64 e, u32 level)
{
	if (level == 1)
		return true;
	if (!(e & PTE_PS))
		return false;
	return w->entry_size == 8 ? level <= 3 : (w->cr4 & CR4_PSE) != 0;
}

/*
 * SDM 3A, Reserved Bits in paging-structure entries: of any 64-bit entry 51:MAXPHYADDR and without EFER.NXE 63, with PAE paging 62:52, too;
 * of a large page the address bits below its size; PS above the levels that have pages. A PDPTE of PAE paging was checked when it was loaded.
 */
static bool reserved_set(const struct l1_walk *w, u64 e, u32 level)
{
	bool large = level > 1 && is_leaf(w, e, level);

	if (w->entry_size == 4) /* 32-Bit Paging: PSE-36 has address bits below 22 */
		return large && (e & BITS(21, MIN(nested_caps.maxphyaddr, 40u) - 19));
	u64 reserved = BITS(51, 0) & ~(BIT(nested_caps.maxphyaddr) - 1);
	if (!(vmread(VMCS_GUEST_EFER) & EFER_NXE))
		reserved |= BIT(63);
	if (w->levels == 3)
		reserved |= BITS(62, 52);
	if (large)
		reserved |= (BIT(level_shift(w, level)) - 1) & BITS(51, 13);
	return (e & reserved) || (level > 3 && (e & PTE_PS));
}

static bool fault(struct l1_walk *w, u64 bits)
{
	w->error = (u32)(bits | (w->write ? PF_WRITE : 0));
	return false;
}

/* Rights of a supervisor-mode data access (SDM 3A, Determination of Access Rights). */
static bool rights_ok(struct l1_walk *w)
{
	if (w->write && !w->writable && (w->cr0 & CR0_WP))
		return fault(w, PF_PRESENT);
	if (w->user && (w->cr4 & CR4_SMAP) && !(vmread(VMCS_GUEST_RFLAGS) & RFLAGS_AC))
		return fault(w, PF_PRESENT);
	return true;
}

static void leaf_address(struct l1_walk *w, u64 e, u32 level)
{
	u64 offset = BIT(level_shift(w, level)) - 1;
	u64 base = w->entry_size == 8 ? e & PTE_ADDR : e & BITS(31, 12);

	if (w->entry_size == 4 && level == 2) /* SDM 3A, 32-Bit Paging: PSE-36 */
		base = (e & BITS(31, 22)) | FIELD_GET(BITS(20, 13), e) << 32;
	w->gpa = (base & ~offset) | (w->linear & offset);
}

/* With PAE paging the processor has the top entries in registers (SDM 3A, PDPTE Registers). */
static u64 pdpte_of(const struct l1_walk *w) { return vmread(VMCS_GUEST_PDPTE0 + 2 * (u32)(w->linear >> 30 & 3)); }

/* The entry and where it is. False: there is an exit to L1 instead. */
static bool read_entry(struct vcpu *v, struct l1_walk *w, u64 table, u32 level, u64 *e, void **at)
{
	u64 index = w->linear >> level_shift(w, level) & (PAGE_SIZE / w->entry_size - 1), entry = table + index * w->entry_size;

	if (!ept12_allows(v, w, entry, true))
		return false;
	*at = entry_map(v, entry, w->entry_size, true);
	*e = *at ? entry_read(*at, w->entry_size) : 0;
	return true;
}

static bool walk_tables(struct vcpu *v, struct l1_walk *w, u64 table, u32 top)
{
	w->writable = w->user = true;
	for (u32 level = top;; level--) {
		void *at;
		u64 e;

		if (!read_entry(v, w, table, level, &e, &at))
			return false;
		if (!(e & PTE_PRESENT))
			return fault(w, 0);
		if (reserved_set(w, e, level))
			return fault(w, PF_PRESENT | PF_RESERVED);
		w->writable &= !!(e & PTE_WRITE);
		w->user &= !!(e & PTE_USER);
		if (is_leaf(w, e, level)) {
			leaf_address(w, e, level);
			if (!rights_ok(w))
				return false;
			entry_mark(at, w->entry_size, PTE_ACCESSED | (w->write ? PTE_DIRTY : 0));
			return true;
		}
		entry_mark(at, w->entry_size, PTE_ACCESSED);
		table = w->entry_size == 8 ? e & PTE_ADDR : e & BITS(31, 12);
	}
}

static bool translate(struct vcpu *v, struct l1_walk *w)
{
	u64 cr3 = vmread(VMCS_GUEST_CR3);

	w->cr0 = nested_in_l2(v) ? vmread(VMCS_GUEST_CR0) : vcpu_read_cr0(); /* what L2 reads there may be L1's make-believe */
	w->cr4 = nested_in_l2(v) ? vmread(VMCS_GUEST_CR4) : vcpu_read_cr4();
	if (!(w->cr0 & CR0_PG)) {
		w->gpa = (u32)w->linear;
		return true;
	}
	w->entry_size = 8;
	if (vmread(VMCS_GUEST_EFER) & EFER_LMA) {
		w->levels = w->cr4 & CR4_LA57 ? 5 : 4;
		return walk_tables(v, w, cr3 & PTE_ADDR, w->levels);
	}
	w->linear = (u32)w->linear;
	if (w->cr4 & CR4_PAE) {
		u64 pdpte = pdpte_of(w);
		w->levels = 3;
		return pdpte & PTE_PRESENT ? walk_tables(v, w, pdpte & PTE_ADDR, 2) : fault(w, 0);
	}
	w->levels = 2;
	w->entry_size = 4;
	return walk_tables(v, w, cr3 & BITS(31, 12), 2);
}

static bool page_fault(struct vcpu *v, const struct l1_walk *w)
{
	if (w->exited)
		return false;
	v->cr2 = w->linear;
	write_cr2(w->linear); /* v is current: its CR2 is the CPU's */
	vcpu_inject_exception(v, VEC_PF, true, w->error);
	return false;
}

static void copy(struct vcpu *v, u64 gpa, u8 *buf, u32 len, bool write)
{
	u8 *p = entry_map(v, gpa, len, write);

	if (!p && !write)
		memset(buf, 0xff, len); /* like an empty bus */
	else if (p && write)
		memcpy(p, buf, len);
	else if (p)
		memcpy(buf, p, len);
}

bool l1_access_linear(struct vcpu *v, u64 linear, void *buf, u32 len, bool write)
{
	u32 first = (u32)MIN((u64)len, PAGE_SIZE - (linear & PAGE_MASK));
	struct l1_walk a = { .linear = linear, .write = write }, b = { .linear = linear + first, .write = write };

	if (!translate(v, &a))
		return page_fault(v, &a);
	if (first < len && !translate(v, &b))
		return page_fault(v, &b);
	if (!ept12_allows(v, &a, a.gpa, false) || (first < len && !ept12_allows(v, &b, b.gpa, false)))
		return false;
	copy(v, a.gpa, buf, first, write);
	if (first < len)
		copy(v, b.gpa, (u8 *)buf + first, len - first, write);
	return true;
}

/* ---- operands ---- */
#define INFO_SCALE BITS(1, 0)
#define INFO_ADDR_SIZE BITS(9, 7)
#define INFO_SEGMENT BITS(17, 15)
#define INFO_INDEX BITS(21, 18)
#define INFO_NO_INDEX BIT(22)
#define INFO_BASE BITS(26, 23)
#define INFO_NO_BASE BIT(27)
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
#define AR_TYPE_CODE BIT(3)
#define AR_TYPE_EXPAND_DOWN BIT(2)
#define AR_TYPE_RW BIT(1) /* data: writable; code: readable */
#define AR_BIG BIT(14)
#define AR_LONG BIT(13)

bool l1_in_64bit(void) { return (vmread(VMCS_GUEST_EFER) & EFER_LMA) && (vmread(VMCS_GUEST_CS_AR) & AR_LONG); }

static bool bad_address(struct vcpu *v, u32 seg)
{
	vcpu_inject_exception(v, seg == SEG_SS ? VEC_SS : VEC_GP, true, 0);
	return false;
}

/* Type and limit of a segment outside 64-bit mode (SDM 3A, Limit Checking; Type Checking). */
static bool segment_allows(u32 seg, u64 offset, u32 len, bool write)
{
	u64 ar = vmread(VMCS_GUEST_ES_AR + 2 * seg), limit = vmread(VMCS_GUEST_ES_LIMIT + 2 * seg);
	u64 last = offset + len - 1;
	bool code = ar & AR_TYPE_CODE;

	if (ar & SEG_AR_UNUSABLE)
		return false;
	if (write ? code || !(ar & AR_TYPE_RW) : code && !(ar & AR_TYPE_RW))
		return false;
	if (!code && (ar & AR_TYPE_EXPAND_DOWN))
		return offset > limit && last <= (ar & AR_BIG ? 0xffffffff : 0xffff);
	return last <= limit;
}

static u64 effective_address(struct vcpu *v, u64 info)
{
	static const u64 mask[4] = { 0xffff, 0xffffffff, ~0ull, ~0ull };
	u64 a = vmread(VMCS_EXIT_QUALIFICATION); /* the displacement; with RIP-relative addressing RIP is in it */

	if (!(info & INFO_NO_BASE))
		a += vcpu_gpr(v, (u32)FIELD_GET(INFO_BASE, info));
	if (!(info & INFO_NO_INDEX))
		a += vcpu_gpr(v, (u32)FIELD_GET(INFO_INDEX, info)) << FIELD_GET(INFO_SCALE, info);
	return a & mask[FIELD_GET(INFO_ADDR_SIZE, info) & 3];
}

bool l1_operand_address(struct vcpu *v, u64 info, u32 len, bool write, u64 *linear)
{
	u32 seg = (u32)FIELD_GET(INFO_SEGMENT, info);
	u64 a = effective_address(v, info);

	if (seg > SEG_GS)
		seg = SEG_DS;
	if (l1_in_64bit()) {
		if (seg >= SEG_FS)
			a += vmread(VMCS_GUEST_ES_BASE + 2 * seg);
		*linear = a;
		return (canonical(a) && canonical(a + len - 1)) || bad_address(v, seg);
	}
	if (!segment_allows(seg, a, len, write))
		return bad_address(v, seg);
	*linear = (u32)(a + vmread(VMCS_GUEST_ES_BASE + 2 * seg));
	return true;
}

bool l1_operand_pointer(struct vcpu *v, u64 *pointer)
{
	u64 linear;

	return l1_operand_address(v, vmread(VMCS_EXIT_INSN_INFO), sizeof(*pointer), false, &linear) &&
	       l1_access_linear(v, linear, pointer, sizeof(*pointer), false);
}
