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

static __inline_always bool entry_is_leaf(u64 e, u32 level)
{
	if (level == 1)
		return true;
	return (e & EPT_PAGE) && ((level == 2 && (nested_caps.ept_vpid & EPT_CAP_2M)) || (level == 3 && (nested_caps.ept_vpid & EPT_CAP_1G)));
}

#define TYPES_RESERVED (BIT(2) | BIT(3) | BIT(7))
/* SDM 3C, EPT Misconfigurations: a present entry that the processor rejects. reserved: address bits that it has not. */
static __inline_always bool entry_malformed(u64 e, u32 level, u64 reserved)
{
	if (!(e & EPT_READ) && ((e & EPT_WRITE) || !(nested_caps.ept_vpid & EPT_CAP_EXEC_ONLY)))
		return true;
	if (!entry_is_leaf(e, level))
		return e & (reserved | BITS(7, 3));
	return (e & (reserved | ((level_size(level) - 1) & BITS(51, 12)))) || (BIT(FIELD_GET(EPT_MEMTYPE, e)) & TYPES_RESERVED);
}

/*
 * An entry in L1's memory. RAM stays where it is as long as the VM lives (core/vm_mem.c), or until the tables further out are dropped, so
 * where a table was found once it is found again. No RAM there: reads as ones, and swallows what is written.
 */
static u64 *entry_found(struct vcpu *v, struct l1_frame *last, u64 l1_gpa)
{
	static u64 ones;
	u64 frame = ALIGN_DOWN(l1_gpa, SIZE_2M);
	hpa_t a = l1_frame_to_hpa(v, frame);

	if (a.v != HPA_NONE.v) {
		*last = (struct l1_frame){ frame, hpa_to_virt(a) };
		return (u64 *)(last->base + l1_gpa - frame);
	}
	ones = ~0ull;
	a = l1_gpa_to_hpa(v, l1_gpa, 8);
	return a.v == HPA_NONE.v ? &ones : hpa_to_virt(a);
}

static u64 *entry_at(struct vcpu *v, u32 level, u64 l1_gpa)
{
	struct l1_frame *last = &v->nested->ept12_frame[level - 1];
	u64 offset = l1_gpa ^ last->gpa;

	return offset < SIZE_2M ? (u64 *)(last->base + offset) : entry_found(v, last, l1_gpa);
}

void ept12_forget(struct nested *n)
{
	for (u32 i = 0; i < EPT12_LEVELS; i++)
		n->ept12_frame[i].gpa = ~0ull;
}

static __inline_always void found_leaf(struct ept12_walk *w, u64 e, u64 size, u64 l2_gpa)
{
	w->l1_gpa = (e & EPT_ADDR & ~(size - 1)) | (l2_gpa & (size - 1));
	w->memtype = (u32)FIELD_GET(EPT_MEMTYPE, e);
	w->ipat = e & EPT_IPAT;
	w->dirty = e & EPT_DIRTY;
	w->result = L2_FAULT_FILLED;
}

static __inline_always u64 level_index(u64 gpa, u32 level) { return gpa >> (12 + 9 * (level - 1)) & 511; }

/* Address bits that the processor has not. */
static __inline_always u64 reserved_bits(void) { return BITS(51, 0) & ~(BIT(nested_caps.maxphyaddr) - 1); }

static void identity(u64 l2_gpa, struct ept12_walk *w)
{
	w->size = level_size(3);
	w->perm = EPT_RWX;
	w->unflagged = false;
	found_leaf(w, ALIGN_DOWN(l2_gpa, w->size) | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB) | EPT_DIRTY, w->size, l2_gpa);
}

/* Any walk. */
static void walk(struct vcpu *v, u64 key, u64 l2_gpa, struct ept12_walk *w)
{
	if (key == EPT12_IDENTITY) {
		identity(l2_gpa, w);
		return;
	}
	u64 used = key & EPT12_MBE ? EPT_RWX | EPT_EXEC_USER : EPT_RWX, reserved = reserved_bits(), table = key & EPT_ADDR, e;
	u32 level = EPT12_LEVELS;

	w->perm = (u32)used;
	w->unflagged = false;
	for (;; level--) {
		u64 *at = entry_at(v, level, table + level_index(l2_gpa, level) * 8);

		e = READ_ONCE(*at);
		w->perm &= (u32)e;
		w->unflagged |= !(e & EPT_ACCESSED);
		w->entry[EPT12_LEVELS - level] = at;
		if (!(e & used) || entry_malformed(e, level, reserved) || entry_is_leaf(e, level))
			break;
		table = e & EPT_ADDR;
	}
	w->last = EPT12_LEVELS - level;
	w->size = level_size(level);
	if (!(e & used))
		w->perm = 0;
	else if (entry_malformed(e, level, reserved))
		w->result = L2_FAULT_MISCONFIG;
	else
		found_leaf(w, e, level_size(level), l2_gpa);
}

/*
 * The usual walk: entries that are no more than a table's address and permissions, where tables were found before, then a write-back leaf
 * of 4 KiB or none. Whatever else there is, walk does it all again.
 */
void ept12_walk(struct vcpu *v, u64 key, u64 l2_gpa, struct ept12_walk *w)
{
	u64 table = key & EPT_ADDR, all = ~0ull, reserved = reserved_bits(), *at, e, offset;
	const struct l1_frame *frame = v->nested->ept12_frame;

	w->result = L2_FAULT_REFLECT;
	if (l2_gpa >> (12 + 9 * EPT12_LEVELS)) { /* beyond the reach of four levels: not translated */
		w->size = BIT(12 + 9 * EPT12_LEVELS);
		w->perm = 0;
		return;
	}
#define PLAIN_ENTRY(level) \
	offset = (table + level_index(l2_gpa, level) * 8) ^ frame[(level) - 1].gpa; \
	if (__builtin_expect(offset >= SIZE_2M, 0)) { \
		walk(v, key, l2_gpa, w); \
		return; \
	} \
	at = (u64 *)(frame[(level) - 1].base + offset); \
	e = READ_ONCE(*at); \
	w->entry[EPT12_LEVELS - (level)] = at;
#define PLAIN_TABLE(level) \
	PLAIN_ENTRY(level) \
	if (__builtin_expect((e & (reserved | BITS(7, 3) | EPT_READ)) != EPT_READ, 0)) { \
		walk(v, key, l2_gpa, w); \
		return; \
	} \
	all &= e; \
	table = e & EPT_ADDR;
	PLAIN_TABLE(4)
	PLAIN_TABLE(3)
	PLAIN_TABLE(2)
	PLAIN_ENTRY(1)
#undef PLAIN_TABLE
#undef PLAIN_ENTRY
	w->size = PAGE_SIZE;
	w->perm = 0;
	if (!(e & (EPT_RWX | EPT_EXEC_USER)))
		return;
	if ((e & (reserved | EPT_READ | EPT_MEMTYPE)) != (EPT_READ | FIELD_PREP(EPT_MEMTYPE, MEMTYPE_WB))) {
		walk(v, key, l2_gpa, w);
		return;
	}
	w->last = EPT12_LEVELS - 1;
	w->perm = (u32)(all & e & (key & EPT12_MBE ? EPT_RWX | EPT_EXEC_USER : EPT_RWX));
	w->unflagged = !(all & e & EPT_ACCESSED);
	found_leaf(w, e, PAGE_SIZE, l2_gpa);
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
	for (u32 i = 0; i <= w->last; i++)
		__atomic_or_fetch(w->entry[i], EPT_ACCESSED, __ATOMIC_SEQ_CST);
	if (!write || w->dirty)
		return true;
	w->dirty = true;
	v->nested->newly_dirty[v->nested->nr_newly_dirty++ % NEWLY_DIRTY] = l2_gpa;
	if (!(__atomic_fetch_or(w->entry[w->last], EPT_DIRTY, __ATOMIC_SEQ_CST) & EPT_DIRTY) && log)
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
	ept12_walk(v, ept12_key(&v->nested->v12), l2_gpa, &w);
	if (w.result != L2_FAULT_FILLED || (write && !(w.perm & EPT_WRITE)) || !ept12_mark(v, l2_gpa, &w, write))
		return false;
	*l1_gpa = w.l1_gpa;
	return true;
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
