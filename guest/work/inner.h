/*
 * Between inner.c and inner_loop.S: a small hypervisor of the guest's own, and its guest. Also included by assembly.
 *
 * The rounds of inner_loop.S are of known length, so what the level below adds to them can be told to the instruction.
 */
#ifndef GUEST_WORK_INNER_H
#define GUEST_WORK_INNER_H

/* Instructions of one round: from an exit back to the entry, and those of its guest. */
#define INNER_OWN_REGION 32 /* 8 VMREAD, 4 VMWRITE */
#define INNER_OWN_PAGE 20   /* 8 loads, 4 stores */
#define INNER_OWN_TOUCH 4   /* of its guest alone: one page */

/* Byte offsets in struct inner_run. */
#define RUN_RDI 0
#define RUN_RCX 8
#define RUN_RSP 16
#define RUN_REASON 24
#define RUN_EXPECTED 32
#define RUN_SKIP 40
#define RUN_COUNT 48
#define RUN_PAGE 56
#define RUN_LAUNCH 64

/* What inner_run returns. */
#define INNER_DONE 0
#define INNER_REFUSED 1    /* VMLAUNCH or VMRESUME failed */
#define INNER_OTHER_EXIT 2 /* an exit for another reason than the expected one */

/* Where a field lies in a VMCS page (core/abi.h), for assembly. */
#define PAGE_AT(type, base, index) (64 + 8 * ((type) * 120 + (base) + (index)))
#define AT_EXIT_REASON PAGE_AT(1, 56, 1)
#define AT_EXIT_INTR_INFO PAGE_AT(1, 56, 2)
#define AT_IDT_VECTORING_INFO PAGE_AT(1, 56, 4)
#define AT_EXIT_INSN_LEN PAGE_AT(1, 56, 6)
#define AT_EXIT_QUALIFICATION PAGE_AT(1, 88, 0)
#define AT_GUEST_INTERRUPTIBILITY PAGE_AT(2, 56, 18)
#define AT_GUEST_RIP PAGE_AT(2, 88, 15)
#define AT_GUEST_RFLAGS PAGE_AT(2, 88, 16)
#define AT_ENTRY_INTR_INFO PAGE_AT(0, 56, 11)

#ifndef __ASSEMBLER__
#include "core/types.h"

/* Entries of the guest until it has had `count` exits for the reason `expected`; each skips `skip` bytes of its code. */
struct inner_run {
	u64 rdi, rcx;      /* its guest's registers, both ways */
	u64 rsp;           /* inner_run's own */
	u64 reason;        /* of the last exit */
	u64 expected, skip, count;
	void *page;        /* the VMCS page, where there is one */
	u64 launch;        /* VMLAUNCH first, instead of VMRESUME */
};
u32 inner_run(struct inner_run *r);
/* HOST_RIP: with a VMCS region, with a VMCS page. */
extern u8 inner_exit_region[], inner_exit_page[];
/* Code of its guest: VMCALL for ever; a load from (RDI) for ever; RCX loads, one page after the other, then VMCALL for ever. */
extern u8 inner_guest_vmcall[], inner_guest_load[], inner_guest_touch[], inner_guest_spin[]; /* the last one: nothing, for ever */
#define INNER_LEN_VMCALL 3
#define INNER_LEN_LOAD 2
/* n times VMREAD of the field. */
void inner_vmread(u64 n, u64 field);

/* ---- inner.c, for other workloads with such a guest ---- */
/* In VMX operation, fn with a VMCS region and, where the level below has them, with a VMCS page. Returns how many checks failed. */
u32 inner_session(u32 (*fn)(u64 n, u32 features), u64 n);
/* Within fn: a field; the guest from this code on until it has had count exits for the reason; a check's name, which lives until the next. */
void inner_put(u64 field, u64 value);
u64 inner_get(u64 field);
u32 inner_start(const void *code, u64 reason, u64 skip, u64 count);
const char *inner_name(const char *kind);
#endif

#endif
