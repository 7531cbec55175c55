/*
 * VMCS shadowing: VMREAD and VMWRITE of L1 without exits, for the fields that exit handlers and an inner engine touch
 * (SDM 3C, VMCS Shadowing). Where the CPU has none, those instructions exit (nested_insn.c).
 *
 * Invariant: while a vmcs12 is attached, the shadow VMCS is the truth for the listed fields whenever L1 runs, n->v12 whenever it
 * does not; every other field lives in n->v12 only. The shadow VMCS is VMCLEARed whenever vmcs01 links to it.
 */
#include <string.h>

#include "vmx/nested_priv.h"
#include "vmx/vmcs.h"

struct shadowed { u16 enc, offset; u8 group; };
#define SHADOWED(name) { VMCS_##name, offsetof(struct vmcs12, name), 0 }

/* What L1 only reads. */
static const struct shadowed read_only[] = {
	SHADOWED(EXIT_REASON), SHADOWED(EXIT_QUALIFICATION), SHADOWED(EXIT_INTR_INFO), SHADOWED(EXIT_INTR_ERROR),
	SHADOWED(IDT_VECTORING_INFO), SHADOWED(IDT_VECTORING_ERROR), SHADOWED(EXIT_INSN_LEN), SHADOWED(EXIT_INSN_INFO),
	SHADOWED(GUEST_LINEAR_ADDR), SHADOWED(GUEST_PHYSICAL_ADDR),
};

/* What L1 reads and writes. */
static const struct shadowed read_write[] = {
	SHADOWED(PROC_CONTROLS), SHADOWED(ENTRY_CONTROLS), SHADOWED(ENTRY_INTR_INFO), SHADOWED(ENTRY_EXCEPTION_ERROR),
	SHADOWED(ENTRY_INSN_LEN), SHADOWED(TPR_THRESHOLD), SHADOWED(CR0_READ_SHADOW), SHADOWED(CR4_READ_SHADOW),
	SHADOWED(EXCEPTION_BITMAP), SHADOWED(EPTP),
	SHADOWED(GUEST_ES_SEL), SHADOWED(GUEST_CS_SEL), SHADOWED(GUEST_SS_SEL), SHADOWED(GUEST_DS_SEL), SHADOWED(GUEST_FS_SEL),
	SHADOWED(GUEST_GS_SEL), SHADOWED(GUEST_LDTR_SEL), SHADOWED(GUEST_TR_SEL), SHADOWED(GUEST_INTERRUPT_STATUS),
	SHADOWED(GUEST_DEBUGCTL), SHADOWED(GUEST_PAT), SHADOWED(GUEST_EFER),
	SHADOWED(GUEST_ES_LIMIT), SHADOWED(GUEST_CS_LIMIT), SHADOWED(GUEST_SS_LIMIT), SHADOWED(GUEST_DS_LIMIT),
	SHADOWED(GUEST_FS_LIMIT), SHADOWED(GUEST_GS_LIMIT), SHADOWED(GUEST_LDTR_LIMIT), SHADOWED(GUEST_TR_LIMIT),
	SHADOWED(GUEST_GDTR_LIMIT), SHADOWED(GUEST_IDTR_LIMIT), SHADOWED(GUEST_ES_AR), SHADOWED(GUEST_CS_AR),
	SHADOWED(GUEST_SS_AR), SHADOWED(GUEST_DS_AR), SHADOWED(GUEST_FS_AR), SHADOWED(GUEST_GS_AR), SHADOWED(GUEST_LDTR_AR),
	SHADOWED(GUEST_TR_AR), SHADOWED(GUEST_INTERRUPTIBILITY), SHADOWED(GUEST_ACTIVITY), SHADOWED(GUEST_SYSENTER_CS),
	SHADOWED(GUEST_CR0), SHADOWED(GUEST_CR3), SHADOWED(GUEST_CR4), SHADOWED(GUEST_ES_BASE), SHADOWED(GUEST_CS_BASE),
	SHADOWED(GUEST_SS_BASE), SHADOWED(GUEST_DS_BASE), SHADOWED(GUEST_FS_BASE), SHADOWED(GUEST_GS_BASE),
	SHADOWED(GUEST_LDTR_BASE), SHADOWED(GUEST_TR_BASE), SHADOWED(GUEST_GDTR_BASE), SHADOWED(GUEST_IDTR_BASE),
	SHADOWED(GUEST_DR7), SHADOWED(GUEST_RSP), SHADOWED(GUEST_RIP), SHADOWED(GUEST_RFLAGS), SHADOWED(GUEST_PENDING_DBG),
	SHADOWED(GUEST_SYSENTER_ESP), SHADOWED(GUEST_SYSENTER_EIP),
};

#define MAX_RO ARRAY_SIZE(read_only)
#define MAX_RW ARRAY_SIZE(read_write)

struct nested_shadow {
	struct vmcs vmcs;
	void *bitmaps;           /* VMREAD, VMWRITE: one page each; bit set = exit */
	bool attached;
	bool held_valid;
	struct vmcs12 held;      /* what the shadow VMCS holds of the listed fields */
	u32 nr_ro, nr_rw;
	struct shadowed ro[MAX_RO], rw[MAX_RW]; /* the listed fields that L1 is offered */
};
#define BITMAP_ORDER 1
_Static_assert(sizeof(struct nested_shadow) <= PAGE_SIZE, "fits a page");

static u64 *place(struct vmcs12 *f, u16 offset) { return (u64 *)((u8 *)f + offset); }

/* Both halves of a 64-bit field. */
static void open_bit(u8 *bitmap, u16 enc)
{
	bitmap[enc / 8] &= (u8)~BIT(enc % 8);
	if (field_width(enc) == 1)
		bitmap[(enc | VMCS_ENC_HIGH) / 8] &= (u8)~BIT((enc | VMCS_ENC_HIGH) % 8);
}

/* Fields that L1 is offered exist in the CPU, too; the others keep exiting, with the error they deserve. */
static u32 choose(struct nested *n, struct shadowed *out, const struct shadowed *list, u32 nr)
{
	u32 chosen = 0;

	for (u32 i = 0; i < nr; i++)
		if (vmcs12_field(&n->v12, &nested_caps, list[i].enc))
			out[chosen++] = (struct shadowed){ list[i].enc, list[i].offset, (u8)vmcs_group(list[i].enc) };
	return chosen;
}

static void build_bitmaps(struct nested *n)
{
	struct nested_shadow *s = n->shadow;
	u8 *vmread_bits = s->bitmaps, *vmwrite_bits = vmread_bits + PAGE_SIZE;

	s->nr_ro = choose(n, s->ro, read_only, MAX_RO);
	s->nr_rw = choose(n, s->rw, read_write, MAX_RW);
	memset(vmread_bits, 0xff, 2 * PAGE_SIZE);
	for (u32 i = 0; i < s->nr_ro; i++)
		open_bit(vmread_bits, s->ro[i].enc);
	for (u32 i = 0; i < s->nr_rw; i++) {
		open_bit(vmread_bits, s->rw[i].enc);
		open_bit(vmwrite_bits, s->rw[i].enc);
	}
}

int shadow_create(struct vcpu *v)
{
	struct nested *n = v->nested;
	struct mem_owner *owner = &v->core.vm->owner;

	/* Exit information is put there by VMWRITE. */
	if (n->shadow || !vmx_caps.shadow_vmcs || !(vmx_caps.misc & VMX_MISC_VMWRITE_RO))
		return 0;
	struct nested_shadow *s = page_alloc(owner);
	if (!s)
		return -ENOMEM;
	n->shadow = s;
	s->bitmaps = pages_alloc(owner, BITMAP_ORDER);
	if (!s->bitmaps || vmcs_create(&s->vmcs, owner)) {
		shadow_free(v);
		return -ENOMEM;
	}
	*(u32 *)s->vmcs.page |= (u32)REVISION_SHADOW;
	build_bitmaps(n);
	return 0;
}

void shadow_free(struct vcpu *v)
{
	struct nested_shadow *s = v->nested->shadow;
	struct mem_owner *owner = &v->core.vm->owner;

	if (!s)
		return;
	vmcs_destroy(&s->vmcs, owner);
	if (s->bitmaps)
		pages_free(owner, s->bitmaps, BITMAP_ORDER);
	page_free(owner, s);
	v->nested->shadow = NULL;
}

/* Work on the shadow VMCS as the current one for a moment. */
static void begin(struct nested_shadow *s)
{
	if (vmptrld(s->vmcs.hpa) != VMX_OK)
		panic("VMPTRLD of a shadow VMCS failed");
}

static void end(struct vcpu *v)
{
	if (vmclear(v->nested->shadow->vmcs.hpa) != VMX_OK)
		panic("VMCLEAR of a shadow VMCS failed");
	vcpu_load_vmcs(v, v->nested->vmcs01);
}

static void write_list(struct nested *n, const struct shadowed *list, u32 nr)
{
	struct nested_shadow *s = n->shadow;

	for (u32 i = 0; i < nr; i++) {
		u64 value = *place(&n->v12, list[i].offset), *held = place(&s->held, list[i].offset);

		if (s->held_valid && *held == value)
			continue;
		vmwrite(list[i].enc, value);
		*held = value;
	}
}

void shadow_from_v12(struct vcpu *v)
{
	struct nested *n = v->nested;

	if (!n->shadow || !n->shadow->attached)
		return;
	begin(n->shadow);
	write_list(n, n->shadow->ro, n->shadow->nr_ro);
	write_list(n, n->shadow->rw, n->shadow->nr_rw);
	n->shadow->held_valid = true;
	end(v);
}

void shadow_to_v12(struct vcpu *v)
{
	struct nested *n = v->nested;
	struct nested_shadow *s = n->shadow;

	if (!s || !s->attached)
		return;
	begin(s);
	for (u32 i = 0; i < s->nr_rw; i++) {
		u64 value = vmread(s->rw[i].enc), *held = place(&s->held, s->rw[i].offset);

		if (*held == value)
			continue;
		*place(&n->v12, s->rw[i].offset) = *held = value;
		n->dirty |= s->rw[i].group;
	}
	end(v);
}

static void link(struct nested_shadow *s, bool on)
{
	u64 controls = vmread(VMCS_PROC2_CONTROLS);

	vmwrite(VMCS_PROC2_CONTROLS, on ? controls | PROC2_SHADOW_VMCS : controls & ~PROC2_SHADOW_VMCS);
	vmwrite(VMCS_VMCS_LINK_PTR, on ? s->vmcs.hpa.v : ~0ull);
	if (!on)
		return;
	vmwrite(VMCS_VMREAD_BITMAP, virt_to_hpa(s->bitmaps).v);
	vmwrite(VMCS_VMWRITE_BITMAP, virt_to_hpa(s->bitmaps).v + PAGE_SIZE);
}

void shadow_attach(struct vcpu *v)
{
	struct nested_shadow *s = v->nested->shadow;

	if (!s)
		return;
	s->attached = true;
	shadow_from_v12(v);
	link(s, true);
}

void shadow_detach(struct vcpu *v)
{
	struct nested_shadow *s = v->nested->shadow;

	if (!s || !s->attached)
		return;
	shadow_to_v12(v);
	link(s, false);
	s->attached = false;
}
