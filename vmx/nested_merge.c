/*
 * vmcs02 = merge(vmcs12, policy): control words, CR0/CR4 masks and shadows, bitmaps.
 *
 * Invariant: every exit that vmcs01's policy asks for is asked for in vmcs02 too, every exit that L1 asks for as well; what is
 * neither may pass. Pure: numbers in, numbers out; no VMCS is touched.
 */
#include "vmx/nested_priv.h"

/* NMIs always exit to us. Who tracks NMI blocking: L1 if it takes NMIs itself; else we do for it. */
static u32 merge_pin(u32 pin12_word, const struct merge_policy *p)
{
	u32 virtual_nmi = pin12_word & PIN_NMI ? pin12_word & PIN_VIRTUAL_NMI : p->pin & PIN_VIRTUAL_NMI;
	u32 ours = p->pin & (u32)~(PIN_VIRTUAL_NMI | PIN_POSTED_INT | PIN_PREEMPTION_TIMER);

	return ours | virtual_nmi | (pin12_word & PIN_PREEMPTION_TIMER) | (p->pi_hw ? pin12_word & PIN_POSTED_INT : 0);
}

/*
 * Without a TPR shadow of L1's making, CR8 is the TPR of L1's own APIC: emulated by us. Port I/O goes by bitmaps unless L1
 * wants all of it; MSR accesses all exit if L1 has no bitmap.
 */
static u32 merge_proc(const struct vmcs12 *f, const struct merge_policy *p)
{
	u32 w = (u32)f->PROC_CONTROLS | (p->proc & (u32)~(PROC_TPR_SHADOW | OURS_DYNAMIC)) | (u32)PROC_SECONDARY;

	if (!proc12(f, PROC_TPR_SHADOW))
		w |= PROC_CR8_LOAD | PROC_CR8_STORE;
	if (!proc12(f, PROC_MSR_BITMAPS))
		w &= (u32)~PROC_MSR_BITMAPS;
	if (proc12(f, PROC_UNCOND_IO) && !proc12(f, PROC_IO_BITMAPS))
		w &= (u32)~PROC_IO_BITMAPS;
	else
		w &= (u32)~PROC_UNCOND_IO;
	return w;
}

/* Ours for exits (OR); L1's alone for what changes how L2 behaves; EPT and VPID are always ours. */
#define PROC2_OUR_EXITS (PROC2_DESC_TABLE | PROC2_WBINVD | PROC2_PAUSE_LOOP | PROC2_RDRAND | PROC2_RDSEED)
/* The log follows flags that we set ourselves (nested_ept12.c); VMREAD and VMWRITE of L2 all exit (nested_link.c). */
#define PROC2_EMULATED (PROC2_PML | PROC2_SHADOW_VMCS)
static u32 merge_proc2(const struct vmcs12 *f, const struct merge_policy *p)
{
	u32 l1 = proc12(f, PROC_SECONDARY) ? (u32)f->PROC2_CONTROLS : 0;

	return (l1 & (u32)~(PROC2_EPT | PROC2_VPID | PROC2_TSC_SCALING | PROC2_EMULATED)) | (p->proc2 & (u32)(PROC2_EPT | PROC2_VPID | PROC2_OUR_EXITS));
}

static u32 merge_exit(const struct vmcs12 *f, const struct merge_policy *p)
{
	/* An exit that we handle must not start the timer anew. */
	u32 timer = pin12(f, PIN_PREEMPTION_TIMER) ? p->exit_may & (u32)EXIT_SAVE_PREEMPTION : 0;

	return p->exit | timer;
}

/* What L2 reads: L1's shadow for L1's bits, else the value itself (SDM 3C, Guest/Host Masks and Read Shadows). */
static u64 merge_shadow(u64 value12, u64 mask12, u64 shadow12) { return (shadow12 & mask12) | (value12 & ~mask12); }

static u64 scaled(u64 tsc, u64 multiplier) { return (u64)((unsigned __int128)tsc * multiplier >> 48); }

u64 tsc_seen(struct tsc_view view, u64 tsc) { return scaled(tsc, view.multiplier) + view.offset; }

/* The nearest that a processor can multiply by: not 0 (SDM 3C, VM-Execution Control Fields), not more than 64 bits. */
static u64 multiplier_of_both(u64 a, u64 b)
{
	unsigned __int128 product = (unsigned __int128)a * b >> 48;

	return product > ~0ull ? ~0ull : product ? (u64)product : 1;
}

/* Products are of the TSC as an unsigned number: L1's, which its offset may have carried over 2^64, so its offset alone cannot be scaled. */
struct tsc_view merge_tsc(const struct vmcs12 *f, struct tsc_view l1, u64 now)
{
	if (!proc12(f, PROC_TSC_OFFSET)) /* then the multiplier has no effect, either */
		return l1;
	if (!proc2_12(f, PROC2_TSC_SCALING))
		return (struct tsc_view){ l1.multiplier, l1.offset + f->TSC_OFFSET };
	u64 multiplier = multiplier_of_both(l1.multiplier, f->TSC_MULTIPLIER), read = scaled(tsc_seen(l1, now), f->TSC_MULTIPLIER) + f->TSC_OFFSET;

	return (struct tsc_view){ multiplier, read - scaled(now, multiplier) };
}

void merge_controls(struct merged *out, const struct vmcs12 *f, const struct merge_policy *p)
{
	*out = (struct merged){
		.pin = merge_pin((u32)f->PIN_CONTROLS, p),
		.proc = merge_proc(f, p),
		.proc2 = merge_proc2(f, p),
		.exit = merge_exit(f, p),
		.entry = (p->entry & (u32)~ENTRY_IA32E) | (u32)(f->ENTRY_CONTROLS & ENTRY_IA32E),
		.exception_bitmap = (u32)f->EXCEPTION_BITMAP | p->exception_bitmap,
		.tsc = merge_tsc(f, p->tsc, p->tsc_now),
		.cr0_mask = f->CR0_MASK | p->cr0_owned,
		.cr4_mask = f->CR4_MASK | p->cr4_owned,
		.cr0_shadow = merge_shadow(f->GUEST_CR0, f->CR0_MASK, f->CR0_READ_SHADOW),
		.cr4_shadow = merge_shadow(f->GUEST_CR4, f->CR4_MASK, f->CR4_READ_SHADOW),
		.cr0 = f->GUEST_CR0 | p->cr0_set,
		.cr4 = (f->GUEST_CR4 & ~p->cr4_clear) | p->cr4_set,
	};
	if (out->tsc.multiplier != TSC_ONE)
		out->proc2 |= (u32)PROC2_TSC_SCALING;
}

u64 merge_cr_back(u64 real, u64 shadow02, u64 field12, u64 mask12, u64 owned)
{
	u64 ours = owned & ~mask12;

	return (real & ~mask12 & ~owned) | (field12 & mask12) | (shadow02 & ours);
}

/* ---- bitmaps ---- */
void open_words_find(struct open_words *o, const u64 *ours, u32 words)
{
	*o = (struct open_words){ 0 };
	for (u32 i = 0; i < words; i++) {
		if (ours[i] == ~0ull)
			continue;
		if (o->nr == BITMAP_WORDS) /* more than we remember: those keep exiting to us */
			return;
		o->word[o->nr++] = (u16)i;
	}
}

void merge_bitmap(u64 *dst, const struct open_words *o, const u64 *ours, const u64 *l1)
{
	for (u32 i = 0; i < o->nr; i++) {
		u32 w = o->word[i];

		dst[w] = ours[w] | (l1 ? READ_ONCE(l1[w]) : ~0ull);
	}
}

/* The x2APIC MSRs 800h-8FFh are words 32..35 of the read-low and of the write-low bitmap. */
#define X2APIC_WORD 32
#define WRITE_LOW 256
#define X2APIC_TPR 0x08
#define X2APIC_EOI 0x0b
#define X2APIC_SELF_IPI 0x3f
void merge_x2apic(u64 *dst, const struct vmcs12 *f, const u64 *l1)
{
	bool on = proc2_12(f, PROC2_X2APIC) && l1;
	u64 read0 = BIT(X2APIC_TPR), write0 = BIT(X2APIC_TPR);

	if (on && proc2_12(f, PROC2_VIRT_INT))
		write0 |= BIT(X2APIC_EOI) | BIT(X2APIC_SELF_IPI);
	for (u32 i = 0; i < 4; i++) {
		u64 may_read = proc2_12(f, PROC2_APIC_REGS) ? ~0ull : i ? 0 : read0, may_write = i ? 0 : write0;

		dst[X2APIC_WORD + i] = on ? ~may_read | READ_ONCE(l1[X2APIC_WORD + i]) : ~0ull;
		dst[WRITE_LOW + X2APIC_WORD + i] = on ? ~may_write | READ_ONCE(l1[WRITE_LOW + X2APIC_WORD + i]) : ~0ull;
	}
}
