/*
 * A processor with VMX as far as the nested engine sees it, and an L1 on it: RAM, page tables, VMCS regions; the engine itself, local APIC,
 * VMCSs and control registers of the VM are the product's. Tests are an L1 that executes VMX instructions, and what its L2 does.
 *
 * Invariant: a VMCS field that the model has not been given reads as 0; VMREAD and VMWRITE work on the VMCS that VMPTRLD named last.
 */
#ifndef TESTS_UNIT_NESTED_MACHINE_H
#define TESTS_UNIT_NESTED_MACHINE_H

#include "tests/conform/vectors.h"
#include "tests/unit/nested_ram.h"
#include "vmx/vlapic.h"

/* ---- L1's memory, by its physical addresses ---- */
#define L1_RAM (4 * SIZE_2M)
#define L1_DEVICE SIZE_1G       /* a page of a device that was passed through */
#define L1_VMXON 0x1000
#define L1_VMCS 0x2000
#define L1_OTHER_VMCS 0x3000
#define L1_SHADOW 0x4000
#define L1_OPERAND 0x5000       /* memory operands of instructions */
#define L1_IO_A 0x6000
#define L1_IO_B 0x7000
#define L1_MSR_BITMAP 0x8000
#define L1_VAPIC 0x9000
#define L1_APIC_ACCESS 0xa000
#define L1_PI 0xb000
#define L1_AREA 0xc000
#define L1_ASSIST 0xd000
#define L1_PDPT_PAE 0xe000      /* PAE: entries here; behind it a page directory for 32-bit paging */
#define L1_PML4 0x10000         /* one to one, first GiB */
#define L1_EPT 0x20000
#define L1_RIP 0x100000
#define L2_RIP 0x200000

extern struct vm vm;
extern struct vm_config config;
extern struct vcpu vcpu;
extern struct vlapic vlapic;
extern struct env env;          /* what L1 knows of its processor, for base_state */
extern u8 *ram;
extern u64 model_tsc, model_cr2;
extern u32 vpid_flushes;
extern u32 killed;              /* vcpu_kill has been called that often */
extern const char *killed_by;   /* and why, last */
extern u32 outer_has;           /* outer_features */
extern u32 requests;            /* vcpu_request */
extern u32 wakes;

static inline void *l1_mem(u64 gpa) { return ram + gpa; }
static inline u64 *l1_word(u64 gpa) { return (u64 *)(ram + gpa); }

/* Power on with this processor; L1 stands in 64-bit mode at CPL 0 with CR4.VMXE, outside VMX operation. */
void machine_on(const struct vmx_caps *hw);
void machine_off(void);
/* cmocka: all features; and with our VMCSs in memory, an outer Nestling below. */
int machine_full(void **state);
int machine_in_memory(void **state);
int machine_stop(void **state);

/* ---- L1 executes ---- */
/* What became of an instruction. VMfailValid(n) is n. */
enum { SUCCEEDED = 0, FAILED_INVALID = 100, ENTERED = 200, KILLED = 300, EXCEPTION = 1000 };
#define FAULT(vector, error) (EXCEPTION + (vector) * 0x1000 + (int)(error))
typedef enum exit_action (*insn_fn)(struct vcpu *v);
/* As its exit finds it: information and qualification are those of the last l1_operand_*. */
int l1_run(insn_fn fn);
void l1_operand_memory(u64 linear);                 /* DS:[linear], 64-bit addressing */
int l1_pointer(insn_fn fn, u64 pointer);            /* VMXON, VMPTRLD, VMCLEAR with this operand */
int l1_write_field(u64 encoding, u64 value);        /* from a register */
int l1_read_field(u64 encoding, u64 *value);
int l1_invalidate(insn_fn fn, u64 type, u64 low, u64 high);
/* VMXON, VMCLEAR, VMPTRLD of L1_VMCS, and this state in it; nothing may fail. */
void l1_vmxon(void);
void l1_prepare(enum base b);
void l1_set(enum base b);                           /* all fields of the current VMCS */
void l1_start_l2(enum base b);                      /* the same, and VMLAUNCH */
void l1_launch(void);                               /* of what is there; L2 runs afterwards */
void l1_resume(void);

void l1_in_protected_mode(void);                    /* without paging */

/* ---- VMCS pages ---- */
struct nest_vmcs_page *l1_page(u64 gpa, enum base b);
void l1_use_page(u64 gpa);                          /* named in the assist page, which is registered */

/* ---- L2 exits ---- */
struct l2_exit { u32 reason; u64 qualification, linear, physical, intr_info, intr_error, idt_info, idt_error, insn_len, insn_info; };
/* nested_exit: true if it is done with. */
bool l2_exits(const struct l2_exit *e);
#define L2_EXITS(...) l2_exits(&(struct l2_exit){ __VA_ARGS__ })
bool l2_runs(void);
/* L1 runs, at its host state, and has been told of this exit. */
void expect_exit(u64 reason, u64 qualification);
struct vmcs12 *v12(void);

/* Fields of the VMCS that is loaded. */
#define HW(name) vmread(VMCS_##name)
#define SET(name, value) vmwrite(VMCS_##name, value)
/* A value that an MSR of L1 has, and may be given. */
u64 *l1_msr(u32 index);
s64 hc_assist(u64 gpa);                            /* HC_VMX_ASSIST */

#endif
