/*
 * A guest's memory by linear address, through its own page tables, whatever its paging mode (SDM 3A, Paging).
 *
 * Invariant: only RAM of the VM is ever read or written; a walk follows at most five tables and believes nothing but what it
 * reads once. Accessed and dirty bits are not set: these accesses are not the guest's.
 */
#include <string.h>

#include "core/x86.h"
#include "vmx/nested.h"
#include "vmx/vcpu.h"

#define PTE_PRESENT BIT(0)
#define PTE_WRITE BIT(1)
#define PTE_PS BIT(7)
#define PTE_ADDR BITS(51, 12)

/* Guest-physical to ours, for the level that runs. */
static hpa_t translate(struct vcpu *v, u64 gpa, u64 len, bool write)
{
	return nested_in_l2(v) ? nested_l2_gpa_to_hpa(v, gpa, write) : vm_gpa_to_hpa(v->core.vm, GPA(gpa), len);
}

static bool read_entry(struct vcpu *v, u64 gpa, u32 size, u64 *entry)
{
	hpa_t a = translate(v, gpa, size, false);
	if (a.v == HPA_NONE.v)
		return false;
	*entry = size == 4 ? READ_ONCE(*(u32 *)hpa_to_virt(a)) : READ_ONCE(*(u64 *)hpa_to_virt(a));
	return true;
}

struct walk { u64 gpa; bool writable; };

/* 32-bit paging: two levels, 4 MiB pages with CR4.PSE (address bits 39:32 in bits 20:13). */
static bool walk_32(struct vcpu *v, u64 cr3, u64 cr4, u32 linear, struct walk *w)
{
	u64 e;
	if (!read_entry(v, (cr3 & 0xfffff000) + (linear >> 22) * 4, 4, &e) || !(e & PTE_PRESENT))
		return false;
	w->writable = e & PTE_WRITE;
	if ((e & PTE_PS) && (cr4 & CR4_PSE)) {
		w->gpa = (e & 0xffc00000) | FIELD_GET(BITS(20, 13), e) << 32 | (linear & 0x3fffff);
		return true;
	}
	if (!read_entry(v, (e & 0xfffff000) + (linear >> 12 & 0x3ff) * 4, 4, &e) || !(e & PTE_PRESENT))
		return false;
	w->writable &= !!(e & PTE_WRITE);
	w->gpa = (e & 0xfffff000) | (linear & 0xfff);
	return true;
}

/* PAE, 4-level and 5-level paging: 64-bit entries, nine bits a level. */
static bool walk_64(struct vcpu *v, u64 table, u32 levels, u64 linear, struct walk *w)
{
	w->writable = true;
	for (u32 l = levels; l > 0; l--) {
		u32 shift = 12 + 9 * (l - 1);
		u64 e;
		if (!read_entry(v, table + (linear >> shift & 0x1ff) * 8, 8, &e) || !(e & PTE_PRESENT))
			return false;
		w->writable &= !!(e & PTE_WRITE);
		if (l == 1 || (l <= 3 && (e & PTE_PS))) {
			u64 mask = BIT(shift) - 1;
			w->gpa = (e & PTE_ADDR & ~mask) | (linear & mask);
			return true;
		}
		table = e & PTE_ADDR;
	}
	return false;
}

/* The four entries of PAE paging have no write bit: start below them. */
static bool walk_pae(struct vcpu *v, u64 cr3, u32 linear, struct walk *w)
{
	u64 e;
	if (!read_entry(v, (cr3 & 0xffffffe0) + (linear >> 30) * 8, 8, &e) || !(e & PTE_PRESENT))
		return false;
	return walk_64(v, e & PTE_ADDR, 2, linear, w);
}

static bool walk(struct vcpu *v, u64 linear, struct walk *w)
{
	u64 cr0 = vmread(VMCS_GUEST_CR0), cr3 = vmread(VMCS_GUEST_CR3), cr4 = vmread(VMCS_GUEST_CR4);
	if (!(cr0 & CR0_PG) || (v->real_mode_fallback && !nested_in_l2(v))) {
		*w = (struct walk){ (u32)linear, true };
		return true;
	}
	if (vmread(VMCS_GUEST_EFER) & EFER_LMA)
		return walk_64(v, cr3 & PTE_ADDR, cr4 & CR4_LA57 ? 5 : 4, linear, w);
	return cr4 & CR4_PAE ? walk_pae(v, cr3, (u32)linear, w) : walk_32(v, cr3, cr4, (u32)linear, w);
}

/* One direction, page by page; returns the bytes done before the first hole. */
static u32 copy(struct vcpu *v, u64 linear, void *buf, u32 len, bool write)
{
	u32 done = 0;
	while (done < len) {
		u32 n = MIN(len - done, (u32)(PAGE_SIZE - (linear & PAGE_MASK)));
		struct walk w;
		if (!walk(v, linear, &w) || (write && !w.writable))
			break;
		hpa_t a = translate(v, w.gpa, n, write);
		if (a.v == HPA_NONE.v)
			break;
		if (write)
			memcpy(hpa_to_virt(a), (u8 *)buf + done, n);
		else
			memcpy((u8 *)buf + done, hpa_to_virt(a), n);
		done += n;
		linear += n;
	}
	return done;
}

u32 guest_read_linear(struct vcpu *v, u64 linear, void *buf, u32 len) { return copy(v, linear, buf, len, false); }

u32 guest_write_linear(struct vcpu *v, u64 linear, const void *buf, u32 len)
{
	return copy(v, linear, (void *)(u64)buf, len, true);
}

u32 guest_mode(void)
{
	u64 ar = vmread(VMCS_GUEST_CS_AR);
	if (ar & BIT(13))
		return 2;
	return ar & BIT(14) ? 1 : 0;
}
