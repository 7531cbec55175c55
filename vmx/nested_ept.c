/*
 * ept02 = ept12 ∘ ept01: L1's tables for L2, composed with ours for L1, on demand (SDM 3C, The Extended Page Table Mechanism).
 *
 * Invariant: a leaf of ept02 never grants more than ept12 and ept01 both grant at the moment it is made, and leads where they lead;
 * whatever invalidates either (INVEPT of L1, an unmapping of ours) drops the composed table as a whole. Bounded: NR_EPT02 tables
 * of EPT02_MAX_TABLES pages, charged to the VM.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

static u32 size_level(u64 size) { return ((u32)__builtin_ctzll(size) - PAGE_SHIFT) / 9 + 1; }

/* ---- the composed tables ---- */
static bool unused(const struct ept02 *e) { return e->pt.root.v == HPA_NONE.v; }

/* User-execute permission exists with mode-based execute control only; elsewhere the processor ignores the bit. */
static const struct ptab_fmt ept02_fmt = {
	.name = "EPT02",
	.present = EPT_RWX | EPT_EXEC_USER,
	.page_size = EPT_PAGE,
	.table_flags = EPT_RWX | EPT_EXEC_USER,
	.addr_mask = EPT_ADDR,
};

/* With A/D flags for L1, L2's page walks count as writes (SDM 3C, Accessed and Dirty Flags for EPT): the CPU must know. */
u64 ept02_pointer_of(const struct ept02 *e) { return ept_pointer(&e->pt) | (e->key & EPTP_AD); }

u64 ept02_pointer(const struct nested *n, struct vm *vm) { return n->ept ? ept02_pointer_of(n->ept) : ept_pointer(&vm->ept); }

static void release(struct ept02 *e)
{
	if (unused(e))
		return;
	ept_flush_here(ept02_pointer_of(e));
	ptab_destroy(&e->pt);
	e->tables = 0;
	e->premapped = 0;
	e->last = (struct ptab_last){ 0 };
}

static int start(struct vcpu *v, struct ept02 *e, u64 key)
{
	u8 max_leaf = vmx_caps.ept_1g ? 3 : vmx_caps.ept_2m ? 2 : 1;

	if (ptab_init(&e->pt, &ept02_fmt, EPT12_LEVELS, max_leaf, false, &v->core.vm->owner)) {
		e->pt.root = HPA_NONE;
		return -ENOMEM;
	}
	e->key = key;
	e->tables = 1;
	ept_flush_here(ept02_pointer_of(e)); /* the root may have been one before */
	premap_start(v, e);
	return 0;
}

static struct ept02 *find(struct nested *n, u64 key)
{
	for (u32 i = 0; i < NR_EPT02; i++)
		if (!unused(&n->ept02[i]) && n->ept02[i].key == key)
			return &n->ept02[i];
	return NULL;
}

static struct ept02 *oldest(struct nested *n)
{
	struct ept02 *best = &n->ept02[0];

	for (u32 i = 0; i < NR_EPT02; i++) {
		struct ept02 *e = &n->ept02[i];

		if (unused(e))
			return e;
		if ((s32)(e->used - best->used) < 0)
			best = e;
	}
	return best;
}

struct ept02 *ept02_of(struct vcpu *v, u64 key)
{
	struct nested *n = v->nested;
	struct ept02 *e = find(n, key);

	if (!e) {
		e = oldest(n);
		release(e);
		if (e == n->ept)
			n->ept = NULL;
		if (start(v, e, key))
			return NULL;
	}
	e->used = ++n->ept_round;
	return e;
}

struct ept02 *ept02_select(struct vcpu *v)
{
	struct nested *n = v->nested;
	u64 key = ept12_key(&n->v12);

	if (n->ept && !unused(n->ept) && n->ept->key == key)
		return n->ept;
	n->ept_selected = true;
	n->ept = ept02_of(v, key);
	return n->ept;
}

struct ept02 *ept02_running(struct vcpu *v) { return has_ept02(v->nested) ? ept02_select(v) : NULL; }

static void drop_all(struct nested *n)
{
	for (u32 i = 0; i < NR_EPT02; i++)
		release(&n->ept02[i]);
	ept12_forget(n); /* further in, L1's tables are found through those further out */
}

void ept02_drop_above(struct nested *n)
{
	for (struct nested *a = n->above; a; a = a->above) {
		drop_all(a);
		a->ept = NULL;
		a->moved = true;
	}
}

void ept02_drop(struct vcpu *v, u64 eptp12)
{
	ept02_drop_above(v->nested);
	for (u32 i = 0; i < NR_EPT02; i++)
		if (!unused(&v->nested->ept02[i]) && (v->nested->ept02[i].key & EPT_ADDR) == (eptp12 & EPT_ADDR))
			release(&v->nested->ept02[i]);
}

void ept02_drop_all(struct vcpu *v)
{
	ept02_drop_above(v->nested);
	drop_all(v->nested);
}

void ept02_free_all(struct vcpu *v)
{
	ept02_drop_all(v);
	v->nested->ept = NULL;
}

void ept02_recheck(struct vcpu *v)
{
	struct nested *n = v->nested;
	u32 nr = MIN(n->nr_newly_dirty, (u32)NEWLY_DIRTY);

	n->nr_newly_dirty = 0;
	if (!n->ept || !(n->v12.EPTP & EPTP_AD))
		return;
	for (u32 i = 0; i < nr; i++) {
		u64 page = ALIGN_DOWN(n->newly_dirty[i], PAGE_SIZE);
		struct ept12_walk w;

		ept12_walk(v, n->ept->key, page, &w);
		if (w.result == L2_FAULT_FILLED && w.dirty)
			continue;
		if (!ptab_unmap(&n->ept->pt, page, PAGE_SIZE)) {
			ept_flush_here(ept02_pointer_of(n->ept));
			continue;
		}
		release(n->ept); /* no memory to split a large page */
		ept02_drop_above(n);
		if (ept02_select(v))
			continue;
		vcpu_kill(v, "no memory left for the tables of its guest");
		return;
	}
}

/* Our own table changed. A vmcs02 that is loaded gets a fresh one at once, others when they are loaded. */
void nested_flush_ept(struct vcpu *v)
{
	struct nested *n = v->nested;

	if (!n)
		return;
	struct nested *loaded = v->loaded->engine;
	bool used = n->ept;
	for (struct nested *e = v->nested_base; e; e = e->above) {
		v->nested = e;
		ept02_free_all(v);
	}
	if (loaded)
		chain_refresh(v, loaded);
	v->nested = n;
	if (used && n != loaded && !ept02_select(v))
		vcpu_kill(v, "no memory left for the tables of its guest");
}

/* ---- filling ---- */
struct leaf { u64 l2_gpa, size, flags; hpa_t hpa; };

/* Table pages that mapping the leaf may take: one per level between what is there and the leaf. */
static u32 tables_needed(const struct ptab *pt, const struct leaf *l)
{
	struct ptab_leaf there;

	ptab_walk(pt, l->l2_gpa, &there);
	u32 have = size_level(there.size), want = size_level(l->size);
	return have > want ? have - want : 0;
}

/* L1 changed its entry: what we had is stale. Or a table that has become empty is in the way of a large page. */
static int map_again(struct ept02 *e, const struct leaf *l)
{
	u32 need = tables_needed(&e->pt, l);

	if (e->tables + need > EPT02_MAX_TABLES)
		return -ENOMEM;
	int err = ptab_unmap(&e->pt, l->l2_gpa, l->size);
	ept_flush_here(ept02_pointer_of(e));
	if (!err)
		err = ptab_map(&e->pt, l->l2_gpa, l->hpa, l->size, l->flags);
	if (!err)
		e->tables += need;
	return err;
}

static int map_elsewhere(struct ept02 *e, const struct leaf *l)
{
	u32 room = EPT02_MAX_TABLES - e->tables;
	int err = ptab_map_leaf(&e->pt, l->l2_gpa, l->hpa, (u8)size_level(l->size), l->flags, &room, &e->last);

	e->tables = EPT02_MAX_TABLES - room;
	return err == -EEXIST ? map_again(e, l) : err;
}

static __inline_always int map_leaf(struct ept02 *e, const struct leaf *l)
{
	if (l->size == PAGE_SIZE && ptab_map_last(&e->pt, l->l2_gpa, l->hpa, l->flags, &e->last))
		return 0;
	return map_elsewhere(e, l);
}

/* A full table starts anew once, with nothing in it; then there is really no memory. */
static enum l2_fault fill_anew(struct vcpu *v, const struct leaf *l)
{
	struct nested *n = v->nested;

	for (struct nested *e = v->nested_base; e; e = e->above)
		premap_forget_all(e);
	nested_flush_ept(v);
	return n->ept && !map_leaf(n->ept, l) ? L2_FAULT_FILLED : L2_FAULT_NO_MEMORY;
}

/* ept12's memory type for RAM; device registers keep ours. A page that L1 does not know to be dirty must fault at its first write. */
static u64 leaf_flags(const struct ept12_walk *w, u64 flags01, bool ad)
{
	u64 perm = flags01 & w->perm & EPT_RWX;

	if (flags01 & EPT_EXEC)
		perm |= w->perm & EPT_EXEC_USER;
	if (ad && !w->dirty)
		perm &= ~EPT_WRITE;

	if (flags01 & VM_MAP_DEVICE)
		return perm | (flags01 & (EPT_MEMTYPE | EPT_IPAT | VM_MAP_DEVICE));
	return ept_leaf_flags(perm, w->memtype) | (w->ipat ? EPT_IPAT : 0) | VM_MAP_RAM;
}

/* The APIC-access page of vmcs12 where L1 has no RAM: the page that stands in for it. */
static bool is_apic_access(const struct nested *n, u64 l1_gpa)
{
	return n->apic_hole && ALIGN_DOWN(l1_gpa, PAGE_SIZE) == n->v12.APIC_ACCESS_ADDR;
}

/*
 * L1 is an L2 of the engine below: its table is what that engine has composed, and composes now if necessary. False: n->far says why;
 * or it is ours.
 */
static bool lookup_below(struct vcpu *v, u64 l1_gpa, u32 need, struct ptab_leaf *out)
{
	struct nested *n = v->nested, *b = n->below;

	n->far.engine = NULL;
	v->nested = b;
	struct ept02 *e = ept02_running(v);
	v->nested = n;
	if (!e)
		return false;
	if (ptab_walk(&b->ept->pt, l1_gpa, out) && !(need & ~out->flags))
		return true;
	v->nested = b;
	u32 perm, result = ept02_fault(v, l1_gpa, need, &perm);
	v->nested = n;
	if (result == L2_FAULT_FILLED)
		return b->ept && n->ept && ptab_walk(&b->ept->pt, l1_gpa, out);
	if (result == L2_FAULT_FURTHER_OUT)
		n->far = b->far;
	else if (result == L2_FAULT_REFLECT || result == L2_FAULT_MISCONFIG)
		n->far.engine = b, n->far.gpa = l1_gpa, n->far.result = result, n->far.perm = perm;
	return false;
}

static bool lookup_ept01(struct vcpu *v, u64 l1_gpa, u32 need, struct ptab_leaf *out)
{
	struct nested *n = v->nested;

	if (n->below)
		return lookup_below(v, l1_gpa, need, out);
	if (ptab_walk(&v->core.vm->ept, l1_gpa, out)) {
		if ((out->flags & VM_MAP_RAM) && out->size >= SIZE_2M) { /* there to stay: see entry_found */
			n->ram_tag = l1_gpa / SIZE_2M + 1;
			n->ram_flags = out->flags;
			n->ram = HPA(ALIGN_DOWN(out->pa.v, SIZE_2M));
		}
		return true;
	}
	if (!is_apic_access(n, l1_gpa))
		return false;
	*out = (struct ptab_leaf){ .pa = HPA(n->apic_access.v | (l1_gpa & PAGE_MASK)), .size = PAGE_SIZE, .flags = ept_leaf_flags(EPT_READ | EPT_WRITE, MEMTYPE_WB) };
	return true;
}

static __inline_always bool ept01_at(struct vcpu *v, u64 l1_gpa, u32 need, struct ptab_leaf *out)
{
	const struct nested *n = v->nested;

	if (n->ram_tag != l1_gpa / SIZE_2M + 1)
		return lookup_ept01(v, l1_gpa, need, out);
	out->pa = HPA(n->ram.v | l1_gpa % SIZE_2M);
	out->flags = n->ram_flags;
	out->size = SIZE_2M;
	return true;
}

/*
 * Which of the two execute permissions counts depends on L2's own page tables (SDM 3C, Mode-Based Execute Control): if ept12 gives one
 * of them only and ept02 has it already, the CPU missed the other one.
 */
static bool fetch_refused(struct vcpu *v, u64 l2_gpa, u32 perm12)
{
	u32 both = (u32)(proc2_12(&v->nested->v12, PROC2_MBE) ? EPT_EXEC | EPT_EXEC_USER : EPT_EXEC), granted = perm12 & both;
	struct ptab_leaf there;

	if (!granted || granted == both)
		return !granted;
	return ptab_walk(&v->nested->ept->pt, l2_gpa, &there) && (there.flags & both) == granted;
}

static struct leaf compose(const struct ept12_walk *w, const struct ptab_leaf *l01, u64 l2_gpa, bool ad)
{
	u64 size = MIN(w->size, l01->size);

	return (struct leaf){ ALIGN_DOWN(l2_gpa, size), size, leaf_flags(w, l01->flags, ad), HPA(ALIGN_DOWN(l01->pa.v, size)) };
}

/* There is a table to fill, also if the way through the tables further out has dropped it. */
static __inline_always bool have_table(struct vcpu *v) { return v->nested->ept || ept02_select(v); }

/* ept12 has a translation. Apart from ept02_fault, so that what L1's tables refuse pays for none of it. */
static __attribute__((noinline)) enum l2_fault fault_translated(struct vcpu *v, u64 l2_gpa, u64 key, u32 need, struct ept12_walk *w)
{
	struct ptab_leaf l01;

	if (!have_table(v))
		return L2_FAULT_NO_MEMORY;
	if ((need & ~w->perm & ~EPT_EXEC) || ((need & EPT_EXEC) && fetch_refused(v, l2_gpa, w->perm)))
		return L2_FAULT_REFLECT;
	if ((key & EPTP_AD) && !ept12_mark(v, l2_gpa, w, need & EPT_WRITE))
		return L2_FAULT_LOG_FULL;
	if (!ept01_at(v, w->l1_gpa, need, &l01) || (need & ~l01.flags))
		return v->nested->below && v->nested->far.engine ? L2_FAULT_FURTHER_OUT : v->nested->ept ? L2_FAULT_OURS : L2_FAULT_FILLED;
	if (!have_table(v))
		return L2_FAULT_NO_MEMORY;
	struct leaf l = compose(w, &l01, l2_gpa, key & EPTP_AD);
	return map_leaf(v->nested->ept, &l) ? fill_anew(v, &l) : L2_FAULT_FILLED;
}

enum l2_fault ept02_fault(struct vcpu *v, u64 l2_gpa, u64 qualification, u32 *perm12)
{
	u32 need = (u32)(qualification & EPT_RWX); /* access bits and permission bits have the same places */
	u64 key = v->nested->ept->key;
	struct ept12_walk w;

	ept12_walk(v, key, l2_gpa, &w);
	*perm12 = w.perm;
	return w.result == L2_FAULT_FILLED ? fault_translated(v, l2_gpa, key, need, &w) : w.result;
}

/* ---- in advance ---- */
/* Only what the engine below has composed already: it may set no flags in its L1's tables for a mere hint. */
static bool ept01_now(struct vcpu *v, u64 l1_gpa, struct ptab_leaf *out)
{
	struct nested *n = v->nested;

	if (!n->below)
		return ptab_walk(&v->core.vm->ept, l1_gpa, out);
	v->nested = n->below;
	const struct ept02 *b = ept02_running(v);
	v->nested = n;
	*out = (struct ptab_leaf){ .size = PAGE_SIZE };
	return b && ptab_walk(&b->pt, l1_gpa, out);
}

/* The leaf for gpa as both tables have it, no larger than `room`. False: there is none; *span: bytes of which that is certain. */
static bool leaf_at(struct vcpu *v, const struct ept02 *e, u64 gpa, u64 room, struct leaf *l, u64 *span)
{
	struct ptab_leaf l01;
	struct ept12_walk w;

	ept12_walk(v, e->key, gpa, &w);
	*span = w.size;
	if (w.result != L2_FAULT_FILLED || ((e->key & EPTP_AD) && w.unflagged))
		return false;
	bool known = ept01_now(v, w.l1_gpa, &l01);
	*span = MIN(w.size, l01.size);
	if (!known)
		return false;
	w.size = MIN(w.size, room); /* less than a large page where a table is in the way */
	*l = compose(&w, &l01, gpa, e->key & EPTP_AD);
	return l->flags & ept02_fmt.present;
}

u64 ept02_premap(struct vcpu *v, struct ept02 *e, u64 gpa, u64 len, u32 *leaves)
{
	u64 end = gpa + len, bytes = 0, next, span;
	struct ptab_leaf there;
	struct leaf l;

	for (; gpa < end && *leaves; gpa = next) {
		bool composed = ptab_walk(&e->pt, gpa, &there);

		span = there.size;
		if (!composed && leaf_at(v, e, gpa, there.size, &l, &span)) {
			if (e->tables >= EPT02_MAX_TABLES / 2 || map_leaf(e, &l))
				break;
			composed = true;
			span = l.size;
		}
		next = MIN(ALIGN_DOWN(gpa, span) + span, end);
		if (!composed)
			continue;
		bytes += next - gpa;
		--*leaves;
	}
	return bytes;
}
