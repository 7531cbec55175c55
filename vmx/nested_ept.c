/*
 * ept02 = ept12 ∘ ept01: L1's tables for L2, composed with ours for L1, on demand (SDM 3C, The Extended Page Table Mechanism).
 *
 * Invariant: a leaf of ept02 never grants more than ept12 and ept01 both grant at the moment it is made, and leads where they lead;
 * whatever invalidates either (INVEPT of L1, an unmapping of ours) drops the composed table as a whole. Bounded: NR_EPT02 tables
 * of EPT02_MAX_TABLES pages, charged to the VM.
 */
#include "core/x86.h"
#include "vmx/nested_priv.h"

/* ---- the walk through ept12 ---- */
#define EPT12_LEVELS 4

static u64 level_size(u32 level) { return PAGE_SIZE << (9 * (level - 1)); }
static u32 size_level(u64 size) { return ((u32)__builtin_ctzll(size) - PAGE_SHIFT) / 9 + 1; }

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
	if (perm == EPT_EXEC && !(nested_caps.ept_vpid & EPT_CAP_EXEC_ONLY))
		return true;
	if (entry_is_leaf(e, level)) {
		u64 type = FIELD_GET(EPT_MEMTYPE, e), below = (level_size(level) - 1) & BITS(51, 12);

		return (e & (reserved | below)) || type == 2 || type == 3 || type == 7;
	}
	return e & (reserved | BITS(7, 3));
}

void ept12_walk(struct vcpu *v, u64 l2_gpa, struct ept12_walk *w)
{
	u64 table = v->nested->v12.EPTP & EPT_ADDR;

	*w = (struct ept12_walk){ .perm = (u32)EPT_RWX, .result = L2_FAULT_REFLECT };
	if (l2_gpa >> (12 + 9 * EPT12_LEVELS)) { /* beyond the reach of four levels: not translated */
		w->perm = 0;
		return;
	}
	for (u32 level = EPT12_LEVELS; level > 0; level--) {
		u64 size = level_size(level), at = table + (l2_gpa >> (12 + 9 * (level - 1)) & 511) * 8;
		hpa_t a = vm_gpa_to_hpa(v->core.vm, GPA(at), 8);
		u64 e = a.v == HPA_NONE.v ? ~0ull : READ_ONCE(*(const u64 *)hpa_to_virt(a)); /* no RAM there: reads as ones */

		w->perm &= (u32)(e & EPT_RWX);
		if (!(e & EPT_RWX))
			return;
		if (entry_malformed(e, level)) {
			w->result = L2_FAULT_MISCONFIG;
			return;
		}
		if (entry_is_leaf(e, level)) {
			w->size = size;
			w->l1_gpa = (e & EPT_ADDR & ~(size - 1)) | (l2_gpa & (size - 1));
			w->memtype = (u32)FIELD_GET(EPT_MEMTYPE, e);
			w->ipat = e & EPT_IPAT;
			w->result = L2_FAULT_FILLED;
			return;
		}
		table = e & EPT_ADDR;
	}
}

/* ---- the composed tables ---- */
static bool unused(const struct ept02 *e) { return e->pt.root.v == HPA_NONE.v; }

/* L2's page walks must not count as writes unless L1 asked for A/D flags, which are not offered: no A/D in our EPTP either. */
static u64 pointer_of(const struct ept02 *e) { return ept_pointer(&e->pt) & ~BIT(6); }

u64 ept02_pointer(const struct nested *n, struct vm *vm) { return n->ept ? pointer_of(n->ept) : ept_pointer(&vm->ept); }

static void release(struct ept02 *e)
{
	if (unused(e))
		return;
	ept_flush_here(pointer_of(e));
	ptab_destroy(&e->pt);
	e->tables = 0;
}

static int start(struct vcpu *v, struct ept02 *e, u64 key)
{
	u8 max_leaf = vmx_caps.ept_1g ? 3 : vmx_caps.ept_2m ? 2 : 1;

	if (ptab_init(&e->pt, &ept_fmt, EPT12_LEVELS, max_leaf, false, &v->core.vm->owner)) {
		e->pt.root = HPA_NONE;
		return -ENOMEM;
	}
	e->eptp12 = key;
	e->tables = 1;
	ept_flush_here(pointer_of(e)); /* the root may have been one before */
	return 0;
}

static struct ept02 *find(struct nested *n, u64 key)
{
	for (u32 i = 0; i < NR_EPT02; i++)
		if (!unused(&n->ept02[i]) && n->ept02[i].eptp12 == key)
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

struct ept02 *ept02_select(struct vcpu *v, u64 eptp12)
{
	struct nested *n = v->nested;
	u64 key = eptp12 & EPT_ADDR;
	struct ept02 *e = n->ept;

	if (e && !unused(e) && e->eptp12 == key)
		return e;
	e = find(n, key);
	n->ept = NULL;
	if (!e) {
		e = oldest(n);
		release(e);
		if (start(v, e, key))
			return NULL;
	}
	e->used = ++n->ept_round;
	n->ept = e;
	return e;
}

void ept02_drop(struct vcpu *v, u64 eptp12)
{
	struct ept02 *e = find(v->nested, eptp12 & EPT_ADDR);

	if (e)
		release(e);
}

void ept02_drop_all(struct vcpu *v)
{
	for (u32 i = 0; i < NR_EPT02; i++)
		release(&v->nested->ept02[i]);
}

void ept02_free_all(struct vcpu *v)
{
	ept02_drop_all(v);
	v->nested->ept = NULL;
}

/* Our own table changed. With vmcs02 loaded a fresh one takes its place at once. */
void nested_flush_ept(struct vcpu *v)
{
	struct nested *n = v->nested;

	if (!n)
		return;
	bool running = nested_in_l2(v) && n->ept;
	ept02_free_all(v);
	if (!running)
		return;
	if (!ept02_select(v, n->v12.EPTP)) {
		vcpu_kill(v, "no memory left for the tables of its guest");
		return;
	}
	n->in02.EPTP = ept02_pointer(n, v->core.vm);
	vmwrite(VMCS_EPTP, n->in02.EPTP);
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

static int map_leaf(struct vcpu *v, const struct leaf *l)
{
	struct ept02 *e = v->nested->ept;
	u32 need = tables_needed(&e->pt, l);

	if (e->tables + need > EPT02_MAX_TABLES)
		return -ENOMEM;
	int err = ptab_map(&e->pt, l->l2_gpa, l->hpa, l->size, l->flags);
	if (err == -EEXIST) { /* L1 changed its entry: what we had is stale */
		err = ptab_unmap(&e->pt, l->l2_gpa, l->size);
		ept_flush_here(pointer_of(e));
		if (!err)
			err = ptab_map(&e->pt, l->l2_gpa, l->hpa, l->size, l->flags);
	}
	if (!err)
		e->tables += need;
	return err;
}

/* A full table starts anew once; then there is really no memory. */
static enum l2_fault fill(struct vcpu *v, const struct leaf *l)
{
	if (!map_leaf(v, l))
		return L2_FAULT_FILLED;
	nested_flush_ept(v);
	return v->nested->ept && !map_leaf(v, l) ? L2_FAULT_FILLED : L2_FAULT_NO_MEMORY;
}

/* ept12's memory type for RAM; device registers keep ours. */
static u64 leaf_flags(const struct ept12_walk *w, u64 flags01)
{
	u64 perm = flags01 & w->perm & EPT_RWX;

	if (flags01 & VM_MAP_DEVICE)
		return perm | (flags01 & (EPT_MEMTYPE | EPT_IPAT));
	return ept_leaf_flags(perm, w->memtype) | (w->ipat ? EPT_IPAT : 0);
}

/* The APIC-access page of vmcs12 where L1 has no RAM: the page that stands in for it. */
static bool is_apic_access(const struct nested *n, u64 l1_gpa)
{
	return n->apic_access.v != HPA_NONE.v && ALIGN_DOWN(l1_gpa, PAGE_SIZE) == n->v12.APIC_ACCESS_ADDR;
}

static bool lookup_ept01(struct vcpu *v, u64 l1_gpa, struct ptab_leaf *out)
{
	struct nested *n = v->nested;

	if (ptab_walk(&v->core.vm->ept, l1_gpa, out))
		return true;
	if (!is_apic_access(n, l1_gpa))
		return false;
	*out = (struct ptab_leaf){ .pa = HPA(n->apic_access.v | (l1_gpa & PAGE_MASK)), .size = PAGE_SIZE, .flags = ept_leaf_flags(EPT_READ | EPT_WRITE, MEMTYPE_WB) };
	return true;
}

enum l2_fault ept02_fault(struct vcpu *v, u64 l2_gpa, u64 qualification, u32 *perm12)
{
	u32 need = (u32)(qualification & EPT_RWX); /* access bits and permission bits have the same places */
	struct ept12_walk w;
	struct ptab_leaf l01;

	ept12_walk(v, l2_gpa, &w);
	*perm12 = w.perm;
	if (w.result != L2_FAULT_FILLED)
		return w.result;
	if (need & ~w.perm)
		return L2_FAULT_REFLECT;
	if (!lookup_ept01(v, w.l1_gpa, &l01) || (need & ~l01.flags))
		return L2_FAULT_OURS;
	u64 size = MIN(w.size, l01.size);
	struct leaf l = { ALIGN_DOWN(l2_gpa, size), size, leaf_flags(&w, l01.flags), HPA(ALIGN_DOWN(l01.pa.v, size)) };
	return fill(v, &l);
}

/* ---- addresses of L2 for others ---- */
bool nested_l2_gpa_to_l1(struct vcpu *v, u64 l2_gpa, u64 *l1_gpa)
{
	struct ept12_walk w;

	if (!proc2_12(&v->nested->v12, PROC2_EPT)) {
		*l1_gpa = l2_gpa;
		return true;
	}
	ept12_walk(v, l2_gpa, &w);
	*l1_gpa = w.l1_gpa;
	return w.result == L2_FAULT_FILLED;
}

hpa_t nested_l2_gpa_to_hpa(struct vcpu *v, u64 l2_gpa)
{
	u64 l1_gpa;

	return nested_l2_gpa_to_l1(v, l2_gpa, &l1_gpa) ? vm_gpa_to_hpa(v->core.vm, GPA(l1_gpa), 1) : HPA_NONE;
}
