/*
 * ept12: L1's own EPT tables, in L1's memory: the walk, accessed and dirty flags, the page-modification log (SDM 3C, The Extended
 * Page Table Mechanism).
 *
 * Invariant: an entry of L1's is read once per walk. Flags are set in it only with EPTP bit 6, only for an access that ept12 allows,
 * and before the access happens; ept02 maps a page writable only once its dirty flag is set, so the first write comes here.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

static u64 level_size(u32 level) { return PAGE_SIZE << (9 * (level - 1)); }

static bool entry_is_leaf(u64 e, u32 level)
{
	if (level == 1)
		return true;
	return (e & EPT_PAGE) && ((level == 2 && (nested_caps.ept_vpid & EPT_CAP_2M)) || (level == 3 && (nested_caps.ept_vpid & EPT_CAP_1G)));
}

/* SDM 3C, EPT Misconfigurations: a present entry that the processor rejects. */
static bool entry_malformed(u64 e, u32 level)
{
	u64 perm = e & EPT_RWX, reserved = BITS(51, 0) & ~(BIT(nested_caps.maxphyaddr) - 1);

	if ((perm & EPT_WRITE) && !(perm & EPT_READ))
		return true;
	if (!(perm & EPT_READ) && !(nested_caps.ept_vpid & EPT_CAP_EXEC_ONLY))
		return true;
	if (entry_is_leaf(e, level)) {
		u64 type = FIELD_GET(EPT_MEMTYPE, e), below = (level_size(level) - 1) & BITS(51, 12);

		return (e & (reserved | below)) || type == 2 || type == 3 || type == 7;
	}
	return e & (reserved | BITS(7, 3));
}

/* No RAM there: reads as ones, and swallows what is written. */
static u64 *entry_at(struct vcpu *v, u64 l1_gpa)
{
	static u64 ones;
	hpa_t a = l1_gpa_to_hpa(v, l1_gpa, 8);

	ones = ~0ull;
	return a.v == HPA_NONE.v ? &ones : hpa_to_virt(a);
}

static void found_leaf(struct ept12_walk *w, u64 e, u64 size, u64 l2_gpa)
{
	w->size = size;
	w->l1_gpa = (e & EPT_ADDR & ~(size - 1)) | (l2_gpa & (size - 1));
	w->memtype = (u32)FIELD_GET(EPT_MEMTYPE, e);
	w->ipat = e & EPT_IPAT;
	w->dirty = e & EPT_DIRTY;
	w->result = L2_FAULT_FILLED;
}

void ept12_walk(struct vcpu *v, u64 l2_gpa, struct ept12_walk *w)
{
	const struct vmcs12 *f = &v->nested->v12;
	u64 table = f->EPTP & EPT_ADDR, used = proc2_12(f, PROC2_MBE) ? EPT_RWX | EPT_EXEC_USER : EPT_RWX;

	*w = (struct ept12_walk){ .perm = (u32)used, .result = L2_FAULT_REFLECT, .unflagged = false };
	if (l2_gpa >> (12 + 9 * EPT12_LEVELS)) { /* beyond the reach of four levels: not translated */
		w->perm = 0;
		return;
	}
	for (u32 level = EPT12_LEVELS; level > 0; level--) {
		u64 size = level_size(level), *at = entry_at(v, table + (l2_gpa >> (12 + 9 * (level - 1)) & 511) * 8), e = READ_ONCE(*at);

		w->perm &= (u32)(e & used);
		if (!(e & used))
			return;
		if (entry_malformed(e, level)) {
			w->result = L2_FAULT_MISCONFIG;
			return;
		}
		w->entry[w->nr++] = at;
		w->unflagged |= !(e & EPT_ACCESSED);
		if (entry_is_leaf(e, level)) {
			found_leaf(w, e, size, l2_gpa);
			return;
		}
		table = e & EPT_ADDR;
	}
}

/* SDM 3C, Page-Modification Logging: the address of a page whose dirty flag has just been set. */
static void log_write(struct vcpu *v, u64 l2_gpa)
{
	struct vmcs12 *f = &v->nested->v12;
	u64 page = ALIGN_DOWN(l2_gpa, PAGE_SIZE);

	if (l1_write(v, f->PML_ADDR + f->PML_INDEX * 8, &page, sizeof(page)))
		return; /* no RAM there: nobody can read it */
	f->PML_INDEX = (f->PML_INDEX - 1) & 0xffff;
}

bool ept12_mark(struct vcpu *v, u64 l2_gpa, struct ept12_walk *w, bool write)
{
	const struct vmcs12 *f = &v->nested->v12;
	bool log = proc2_12(f, PROC2_PML);

	if (!(f->EPTP & EPTP_AD) || (!w->unflagged && (!write || w->dirty)))
		return true;
	if (log && f->PML_INDEX >= PML_ENTRIES)
		return false;
	for (u32 i = 0; i < w->nr; i++)
		__atomic_or_fetch(w->entry[i], EPT_ACCESSED, __ATOMIC_SEQ_CST);
	if (!write || w->dirty)
		return true;
	w->dirty = true;
	v->nested->newly_dirty[v->nested->nr_newly_dirty++ % NEWLY_DIRTY] = l2_gpa;
	if (!(__atomic_fetch_or(w->entry[w->nr - 1], EPT_DIRTY, __ATOMIC_SEQ_CST) & EPT_DIRTY) && log)
		log_write(v, l2_gpa);
	return true;
}

/* ---- addresses of L2 for others ---- */
static bool to_l1(struct vcpu *v, u64 l2_gpa, bool write, u64 *l1_gpa)
{
	struct ept12_walk w;

	if (!proc2_12(&v->nested->v12, PROC2_EPT)) {
		*l1_gpa = l2_gpa;
		return true;
	}
	ept12_walk(v, l2_gpa, &w);
	*l1_gpa = w.l1_gpa;
	return w.result == L2_FAULT_FILLED && (!write || (w.perm & EPT_WRITE)) && ept12_mark(v, l2_gpa, &w, write);
}

/* Down to our own VM. */
bool nested_l2_gpa_to_l1(struct vcpu *v, u64 l2_gpa, u64 *l1_gpa)
{
	struct nested *running = v->nested;
	bool found = true;

	*l1_gpa = l2_gpa;
	for (struct nested *n = running; n && found; n = n->below) {
		v->nested = n;
		found = to_l1(v, *l1_gpa, false, l1_gpa);
	}
	v->nested = running;
	return found;
}

hpa_t nested_l2_gpa_to_hpa(struct vcpu *v, u64 l2_gpa, bool write)
{
	u64 l1_gpa;

	return to_l1(v, l2_gpa, write, &l1_gpa) ? l1_gpa_to_hpa(v, l1_gpa, 1) : HPA_NONE;
}
