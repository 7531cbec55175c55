/*
 * Inside of the nested engine (vmx/nested.h is its face): the software copy of a vmcs12, the state per vCPU, and what the
 * files of the family offer each other.
 *
 * Invariant: all that we act on of a vmcs12 is in our own memory (struct vmcs12) before it is checked, and is not read
 * again from L1's memory afterwards. Addresses in it are translated through the VM's EPT at each VM entry.
 *
 * Files: fields (encodings) · cap (what L1 may use) · chain (flat nesting: engines above each other) · park (chains that
 * wait) · life · fast (the shortest way) · region, page (VMCS regions and VMCS pages in L1's memory) · link (what L2 does
 * with what vmcs12 names) · insn, mem (VMX instructions and their operands) · check_ctl, check_host, check_guest (VM-entry
 * checks, one row per sentence of the SDM) · merge (pure: control words, masks, bitmaps) · state, save (fields to and from
 * vmcs02) · entry · msr (MSR areas) · exit (who owns an exit) · reflect · host (L1's host state) · cr (CR accesses of L2 that
 * are ours) · ept12 (L1's tables) · ept (ept02) · premap (in advance) · vpid · irq · shadow.
 */
#ifndef VMX_NESTED_PRIV_H
#define VMX_NESTED_PRIV_H

#include "vmx/ept.h"
#include "vmx/nested.h"

/* The fields of a VMCS, each in 64 bits whatever its width; zero-extended. */
struct vmcs12 {
#define VMCS12_MEMBER(name, enc) u64 name;
	VMCS_FIELDS(VMCS12_MEMBER)
#undef VMCS12_MEMBER
};

/* A VMCS region in L1's memory (SDM 3C, Format of the VMCS Region): the data after the abort indicator are ours. */
struct vmcs12_region {
	u32 revision;
	u32 abort;
	u32 launched;
	u32 reserved;
	struct vmcs12 data;
};
_Static_assert(sizeof(struct vmcs12_region) <= PAGE_SIZE, "a VMCS region is one page");
#define NESTED_REVISION 0x4e657374u /* never the machine's own: a vmcs12 must not be taken for a real VMCS */
#define REVISION_SHADOW BIT(31)

/* Width, type and index of an encoding packed: 2 + 2 + 5 bits are enough for all that Appendix B names. */
#define FIELD_SLOTS 512
#define FIELD_SLOT(enc) ((enc) >> 13 << 7 | ((enc) >> 10 & 3) << 5 | ((enc) >> 1 & 31))

/* What L1 is told that it may use: the capability MSRs (SDM 3D, VMX Capability Reporting Facility). */
struct nested_caps {
	u64 basic, misc, ept_vpid, vmfunc, vmcs_enum, cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	struct vmx_ctl pin, proc, proc2, exit, entry; /* by the TRUE MSRs */
	u8 maxphyaddr;
	u64 fields[FIELD_SLOTS / 64];                 /* which VMCS fields exist: FIELD_SLOT bits */
};
extern struct nested_caps nested_caps;

/* SDM 3C, VM-Instruction Error Numbers. */
enum vmx_insn_error {
	INSN_ERR_VMCLEAR_ADDR = 2, INSN_ERR_VMCLEAR_VMXON = 3, INSN_ERR_VMLAUNCH_NOT_CLEAR = 4, INSN_ERR_VMRESUME_NOT_LAUNCHED = 5,
	INSN_ERR_CONTROLS = 7, INSN_ERR_HOST_STATE = 8, INSN_ERR_VMPTRLD_ADDR = 9, INSN_ERR_VMPTRLD_VMXON = 10,
	INSN_ERR_VMPTRLD_REVISION = 11, INSN_ERR_FIELD = 12, INSN_ERR_READ_ONLY = 13, INSN_ERR_VMXON_IN_ROOT = 15,
	INSN_ERR_MOV_SS = 26, INSN_ERR_INV_OPERAND = 28
};
/* Exit qualifications of a VM-entry failure (SDM 3C, VM-Entry Failures During or After Loading Guest State). */
enum entry_failure { ENTRY_FAIL_OTHER = 0, ENTRY_FAIL_PDPTE = 2, ENTRY_FAIL_NMI = 3, ENTRY_FAIL_LINK_PTR = 4 };
/* SDM 3C, VMX Aborts. */
enum vmx_abort { ABORT_SAVE_MSR = 1, ABORT_HOST_PDPTE = 2, ABORT_LOAD_MSR = 4, ABORT_FURTHER_IN = 0x100 /* ours: core/abi.h, VMCS pages */ };

/* One composed table: ept02 of the ept12 with this key. */
struct ept02 {
	struct ptab pt;
	u64 key;          /* ept12_key */
	u64 premapped;    /* bytes of declared ranges that have been composed in advance */
	u32 tables;       /* table pages, the root included */
	struct ptab_last last;
	u32 used;         /* round of the last use, for eviction */
};
#define NR_EPT02 4
#define NEWLY_DIRTY 8
#define EPT02_MAX_TABLES 1024 /* per ept02; a full one is dropped and starts anew */
/* A VPID of L1's, and the one of ours that stands for it. */
struct vpid02 { u16 vpid12, vpid02; };
#define NR_VPID02 8
/* Ranges that L1 has declared by HC_EPT_PREMAP, for the ept12 with this key. */
struct premap_list { u64 key; u32 nr; struct nest_premap range[NEST_PREMAP_MAX]; };
/* 2 MiB of L1's RAM that hold one of its tables, and where we have them. gpa ~0: none. */
struct l1_frame { u64 gpa; u8 *base; };

/* 64-bit words of a bitmap of ours that let something pass; the rest is all ones whatever L1's bitmap says. */
#define BITMAP_WORDS 64
struct open_words { u16 nr; u16 word[BITMAP_WORDS]; };

/* A guest's TSC by the processor's: (TSC * multiplier >> 48) + offset (SDM 3C, Changes to Instruction Behavior in VMX Non-Root Operation). */
struct tsc_view { u64 multiplier, offset; };
#define TSC_ONE BIT(48)

/* The control words of a vmcs02: nested_merge.c. */
struct merged {
	u32 pin, proc, proc2, exit, entry, exception_bitmap;
	struct tsc_view tsc;
	u64 cr0_mask, cr4_mask, cr0_shadow, cr4_shadow, cr0, cr4;
};

#define EPT12_LEVELS 4

/* Things of ours that vmcs02 asks for on top of vmcs12, by processor-based control bit. */
#define OURS_DYNAMIC (PROC_MTF | PROC_INT_WINDOW | PROC_NMI_WINDOW)

/* Engines above the base; what lies deeper is trapped and emulated by the innermost of them. Bounds our stack, too. */
#define CHAIN_MAX 7
struct exit_info;
/* What runs further in by a VMCS page that is not current (nested_park.c). token 0: nothing; the engines may stay for later use. */
struct parked { u64 page_gpa, token, root_rip; struct nested *above, *suspended; };
#define NR_PARKED 3
struct nested {
	struct nested *below;        /* runs L1, which is then an L2 there: flat nesting (nested_chain.c); NULL: L1 is our own VM */
	u32 height;                  /* engines below */
	struct nested *above;        /* runs the guest of L2, if L1 delegates that; made on first use */
	struct nested *suspended;    /* what ran further in when L1 got an exit; continues with L1's next entry */
	struct vmcs *vmcs01;         /* runs L1 */
	u64 delegate;                /* L2's assist page, in L2's memory; NEST_VMCS_NONE: not delegated */
	u64 assist_gpa;              /* what assist was translated from, if below */
	struct vcpu_event event_kept; /* of L2, while it is suspended */
	u64 root_rip;                /* of L2, while something further in is suspended */
	struct parked parked[NR_PARKED];
	bool moved;                  /* the tables below were dropped since page and assist were translated */
	u16 status01;                /* guest-interrupt status of L1 while vmcs02 is loaded, if below */
	bool status01_moved;         /* it is not what the VMCS that runs L1 has */
	u32 policy_seen, policy_made; /* likewise for the control words */
	u32 bitmaps_seen;            /* bitmaps_made of below when ours were merged */
	u32 bitmaps_made;            /* changes with each merge */
	struct merged merged;        /* the control words of vmcs02 */
	bool vmx_on;
	u64 vmxon_gpa;               /* ~0: none */
	u64 current_gpa;             /* gpa of the current vmcs12; ~0: none */
	bool launched12;             /* its launch state */
	bool shadow12;               /* it is a shadow VMCS: nothing can be entered by it */
	struct vmcs12 v12;           /* its data, while it is current */
	struct nest_vmx_assist *assist; /* in L1's memory; NULL: none registered */
	bool shared;                 /* our outer has it, too, and may run what L1 runs: a page is put at each exit to L1 (page_leave_to_outer) */
	struct nest_vmcs_page *page; /* the current vmcs12, if it is a VMCS page; in L1's memory */

	struct vmcs vmcs02;
	bool vmcs02_ready;           /* host state and constant fields have been written */
	bool entered;                /* vmcs02 has been launched */
	bool ran;                    /* L2 has executed since L1's VMLAUNCH or VMRESUME */
	bool launching;              /* that was a VMLAUNCH */
	u32 dirty;                   /* NEST_GROUP_*: what of v12 is not in vmcs02 yet */
	bool steady12;               /* v12 allows the short way to L1's host state: nested_host_steady */
	bool host_loaded;            /* L1 has continued at the whole host state of this page once: see steady in core/abi.h */
	bool segments_in_page;       /* those of v12 are older than those of the VMCS page */
	u64 rflags_saved;            /* L2's at its last exit */
	bool in02_valid;
	struct vmcs12 in02;          /* what some fields of vmcs02 hold, if in02_valid: nested_state.c */
	u32 pin02;                   /* pin-based controls by the merge */
	u32 proc02;                  /* primary controls by the merge, and what we added to them */
	u32 ours;
	struct vpid02 vpid[NR_VPID02]; /* the first: of L2 without VPID */
	u32 vpid_next;
	u16 vpid02, vpid12;          /* that vmcs02 runs with; vpid12 = 0: none, or it has to be selected again */
	u64 cr0_owned02, cr4_owned02; /* bits that are ours in vmcs02 */
	u64 pdpte[4];                /* L2's, if it uses PAE paging; as checked */

	bool trap_due;               /* L1's monitor trap, behind an instruction of L2 that we have performed */
	bool l2_halted;              /* L2 is in HLT and what ends it has not come yet */
	bool l2_waits;               /* L2 waits for a SIPI: vmcs02 is not run; v->state says so, too */
	u64 waits_since;             /* TSC */
	u32 activity02;              /* activity state that vmcs02 was given */
	u32 init_blocked;            /* an INIT came while L1 was in VMX root operation, or L2 waited for a SIPI: taken at VMXOFF, or by an exit of L2 */
	bool init_further_in;        /* L1 says that one waits for L2's processor: the next stay further in ends by it */
	bool pi_pending;             /* the descriptor of L2 has something that the next entry must deliver */
	bool pi_hw;                  /* the CPU processes the descriptor of L2 */

	/* translated for the running entry; HPA_NONE = not in use */
	hpa_t virtual_apic, pi_desc, apic_access;
	bool apic_hole;              /* vmcs12's APIC-access page is where L1 has no RAM: dummy_page is mapped there */
	void *dummy_page;            /* stands in for pages that vmcs12 places outside L1's RAM */
	void *msr_bitmap, *io_bitmap;
	struct open_words msr_open, io_open[2]; /* I/O: bitmap A, bitmap B */

	struct ept02 ept02[NR_EPT02];
	struct ept02 *ept;           /* of the vmcs12 that runs; NULL: it has no EPT */
	bool ept_selected;           /* since vmcs02 was given its EPTP: what it has may be gone */
	u32 ept_round;
	struct { struct nested *engine; u64 gpa; u32 result, perm; } far; /* see L2_FAULT_FURTHER_OUT */
	struct premap_list premap[NR_EPT02];
	u32 premap_next;
	struct l1_frame ept12_frame[EPT12_LEVELS];
	u64 ram_tag, ram_flags;      /* 2 MiB of L1's RAM that ept01 maps by one leaf: number of the frame + 1; as that leaf says */
	hpa_t ram;
	u64 newly_dirty[NEWLY_DIRTY]; /* pages of L2 whose dirty flag we have set since its last entry: ept02_recheck */
	u32 nr_newly_dirty;

	struct nested_shadow *shadow; /* VMCS shadowing; NULL where the CPU has none */
};
#define NESTED_ORDER 1
_Static_assert(sizeof(struct nested) <= PAGE_SIZE << NESTED_ORDER, "fits its pages");

static inline bool pin12(const struct vmcs12 *f, u64 bit) { return f->PIN_CONTROLS & bit; }
static inline bool proc12(const struct vmcs12 *f, u64 bit) { return f->PROC_CONTROLS & bit; }
static inline bool proc2_12(const struct vmcs12 *f, u64 bit)
{
	return (f->PROC_CONTROLS & PROC_SECONDARY) && (f->PROC2_CONTROLS & bit);
}
static inline bool pae_guest(const struct vmcs12 *f)
{
	return (f->GUEST_CR0 & CR0_PG) && (f->GUEST_CR4 & CR4_PAE) && !(f->ENTRY_CONTROLS & ENTRY_IA32E);
}
/* L2 runs by a composed table, not by the one that runs L1. */
static inline bool has_ept02(const struct nested *n) { return proc2_12(&n->v12, PROC2_EPT) || n->apic_hole; }
static inline bool canonical(u64 a) { return (u64)((s64)(a << 16) >> 16) == a; }

/* ---- nested_fields.c (pure) ---- */
/* Where a field is kept, or NULL if no field with this encoding exists for L1. Bit 0 (high half) is ignored for the place. */
u64 *vmcs12_field(struct vmcs12 *f, const struct nested_caps *c, u64 encoding);
/* VMREAD and VMWRITE of an existing field; long_mode: 64-bit operands. */
u64 vmcs12_read(struct vmcs12 *f, const struct nested_caps *c, u64 encoding);
void vmcs12_write(struct vmcs12 *f, const struct nested_caps *c, u64 encoding, u64 value);
static inline u32 field_width(u64 encoding) { return (u32)FIELD_GET(VMCS_ENC_WIDTH, encoding); }
static inline u32 field_type(u64 encoding) { return (u32)FIELD_GET(VMCS_ENC_TYPE, encoding); }
#define FIELD_TYPE_READ_ONLY 1
/* Work out c->fields from the controls offered; the highest index among them, for IA32_VMX_VMCS_ENUM. */
u32 vmcs12_fields_make(struct nested_caps *c);

/* ---- nested_cap.c ---- */
/* From what the CPU can do to what L1 is offered. Pure. */
void nested_caps_make(struct nested_caps *out, const struct vmx_caps *hw, u8 maxphyaddr);
bool nested_cap_msr(const struct nested_caps *c, u32 msr, u64 *value);

/* ---- nested_check_*.c (pure) ---- */
/* Everything that a check may look at besides vmcs12 itself; collected once, before the checks. */
struct check_ctx {
	const struct vmcs12 *f;
	const struct nested_caps *caps;
	bool l1_long;                /* IA32_EFER.LMA at the time of VM entry */
	u8 vtpr;                     /* byte 80h of the virtual-APIC page */
	u32 link_revision;           /* first word of the VMCS that the link pointer names */
	u64 current_gpa;
	u64 pdpte[4];                /* from vmcs12 with EPT, from L1's memory without */
	bool pdptes_read;            /* … could be read */
};
/* One sentence of the SDM: what must hold, and what the processor reports if it does not. */
struct check { const char *name; bool (*holds)(const struct check_ctx *c); u8 failure; };
extern const struct check checks_ctl[], checks_host[], checks_guest[];
extern const u32 nr_checks_ctl, nr_checks_host, nr_checks_guest;
/* The first row that does not hold, or NULL. */
const struct check *checks_run(const struct check *rows, u32 n, const struct check_ctx *c);
/* All three tables hold whatever else f says, given that they held before its hot fields changed. nested_check_plain.c */
bool check_plain(const struct vmcs12 *f, u64 rflags_before);
/* An EPTP that VM entry accepts. */
bool check_eptp(const struct nested_caps *c, u64 eptp);
bool check_pat(u64 pat);
/* Four entries of PAE paging without reserved bits. */
bool check_pdptes(const struct nested_caps *c, const u64 pdpte[4]);

/* ---- nested_merge.c (pure) ---- */
struct merge_policy {
	u32 pin, proc, proc2, exit, entry; /* what vmcs01 runs with */
	u32 exit_may;                      /* exit controls that the CPU can do */
	u64 cr0_owned, cr4_owned;
	u64 cr0_set, cr4_set, cr4_clear;   /* bits that we force in the real registers; all of them owned */
	u32 exception_bitmap;
	bool pi_hw;                        /* let the CPU process L2's descriptor */
	struct tsc_view tsc;               /* L1's */
	u64 tsc_now;                       /* the processor's; needed where vmcs12 scales */
};
void merge_controls(struct merged *out, const struct vmcs12 *f, const struct merge_policy *p);
/* What L2 reads where the processor's TSC reads `tsc`. */
u64 tsc_seen(struct tsc_view view, u64 tsc);
/* L2's view by L1's: the same as both multiplications one after the other at the moment `now`, from then on a tick less in 2^48 at most. */
struct tsc_view merge_tsc(const struct vmcs12 *f, struct tsc_view l1, u64 now);
/* What L1 finds in the CR0/CR4 fields after an exit: undo the merge. real, shadow: of vmcs02. */
u64 merge_cr_back(u64 real, u64 shadow02, u64 field12, u64 mask12, u64 owned);
/* Find the words of a bitmap of ours that are not all ones. */
void open_words_find(struct open_words *o, const u64 *ours, u32 words);
/* dst = ours | l1 for the open words; dst holds ones elsewhere. l1 NULL: L1 wants every access. */
void merge_bitmap(u64 *dst, const struct open_words *o, const u64 *ours, const u64 *l1);
/* Words of the x2APIC range: pass only what vmcs12 virtualises and lets pass. */
void merge_x2apic(u64 *dst, const struct vmcs12 *f, const u64 *l1);

/* ---- nested_region.c ---- */
/* gpa is a legal operand of VMPTRLD and company: page-aligned, inside the physical-address width. */
bool region_gpa_ok(u64 gpa);
u32 region_read_revision(struct vcpu *v, u64 gpa);
/* The fields of a region in L1's memory, itself: L1 may change them at any moment. */
struct vmcs12 *region_data(struct vcpu *v, u64 gpa);
void region_load(struct vcpu *v, u64 gpa);
/* Write the current vmcs12 back to L1's memory and forget it. */
void region_put(struct vcpu *v);
void region_clear_launched(struct vcpu *v, u64 gpa);
void region_abort(struct vcpu *v, enum vmx_abort why);

/* ---- nested_page.c ---- */
/* Before an entry: the page that the assist page names becomes current, and what L1 touched of it is copied. May leave none current. */
void page_collect(struct vcpu *v);
/* Before all checks are made: v12's segments as L1's page has them. */
void page_collect_segments(struct nested *n);
/* v12 -> what L1 will read. Precondition: n->page. */
void page_publish(struct nested *n);
void page_publish_error(struct nested *n);
/* It is current no more. Precondition: n->page. */
void page_put(struct vcpu *v, struct nested *n);
/* The same without a last word to it. */
void page_forget(struct nested *n);
/* The outer runs L1's guests for us (core/abi.h, "Delegation"), but for what it leaves to us. */
bool page_delegated(const struct vcpu *v);
/* Does an INIT wait for L1's processor? And: it does now, or no more. The outer is told. */
bool page_init_waits(struct vcpu *v);
void page_set_init(struct vcpu *v, bool waits);
/* Such a guest has exited, or could not be entered: its next entry is the outer's, so the page must not stay current here. v: L1 runs. */
void page_leave_to_outer(struct vcpu *v);

/* ---- nested_mem.c ---- */
/*
 * Copy to or from a linear address of L1 as its own instruction at CPL 0 would. False: the fault has been injected. Precondition:
 * vmcs01 loaded.
 */
bool l1_access_linear(struct vcpu *v, u64 linear, void *buf, u32 len, bool write);
/* The memory operand that the exit describes: linear address. False: the fault has been injected. */
bool l1_operand_address(struct vcpu *v, u64 info, u32 len, bool write, u64 *linear);
/* The 64-bit pointer operand of VMXON, VMPTRLD, VMCLEAR. */
bool l1_operand_pointer(struct vcpu *v, u64 *pointer);
bool l1_in_64bit(void);

/* ---- nested_state.c ---- */
/* Write vmcs02 from vmcs12 and our policy. Preconditions: vmcs12 has been checked; vmcs01 loaded; loads vmcs02. */
void state_enter(struct vcpu *v);
/* Read L2's state from vmcs02 (loaded) into vmcs12's guest-state area. */
void state_save(struct vcpu *v);
/* Change what we ask for on top of vmcs12. Precondition: vmcs02 loaded. */
void state_set_ours(struct nested *n, u32 ours);
/* CR0/CR4 bits that are ours while L2 runs. */
u64 state_cr0_owned(const struct vcpu *v);
u64 state_cr4_owned(const struct vcpu *v);

/* ---- nested_life.c ---- */
int nested_allocate(struct vcpu *v) __must_check;
/* The engine above n, made if necessary; NULL: no memory. */
struct nested *nested_above(struct vcpu *v, struct nested *n);

/* ---- nested_entry.c ---- */
/* VMLAUNCH, VMRESUME of the L1 of v->nested. EXIT_RESUME: L2 is to run, or L1 at its host state; else L1's instruction has failed. */
enum exit_action nested_enter(struct vcpu *v, bool launch);
/* VM entry failed after the checks of controls and host state: L1 continues at its host state. vmcs01 or vmcs02 loaded. */
void entry_fail(struct vcpu *v, u32 reason, u64 qualification);

/* ---- nested_insn.c ---- */
/* RFLAGS of L1 as the conventions say (SDM 3C, VMX Instruction Reference, Conventions). vmcs01 loaded. */
enum exit_action insn_succeed(void);
enum exit_action insn_fail_invalid(void);
enum exit_action insn_fail(struct vcpu *v, enum vmx_insn_error error);
/* Mode and privilege checks common to all but VMXON. True: go on; else *a is the answer. */
bool insn_allowed(struct vcpu *v, enum exit_action *a);
/* The operand in the register that the instruction information calls "register 2". */
u64 insn_register2(struct vcpu *v);
/* VMREAD and VMWRITE that may happen, of a field of target. The VMCS of the level that executes them is loaded. */
enum exit_action insn_vmread(struct vcpu *v, struct vmcs12 *target);
enum exit_action insn_vmwrite(struct vcpu *v, struct vmcs12 *target);

/* ---- nested_link.c ---- */
/* Does vmcs12 want this VMREAD or VMWRITE of L2 to exit? */
bool link_wants(struct vcpu *v, bool write);
/* One that it does not want. */
enum exit_action link_vmread(struct vcpu *v);
enum exit_action link_vmwrite(struct vcpu *v);
/* VMFUNC of L2: done, or false: it exits to L1. */
bool link_vmfunc(struct vcpu *v);

/* ---- for nested_fast.c ---- */
/* VMX operation, 64-bit mode, CPL 0: a VMX instruction of L1 goes on, whatever else there is to say. vmcs01 loaded. */
bool insn_in_plain_mode(struct vcpu *v);
/* Since the last entry nothing has changed that needs checks. Precondition: page_collect or shadow_to_v12. */
bool nested_unchanged(const struct nested *n);
/* A vmcs12 with other controls is about to be entered: see nested_host_steady. */
void host_state_note(struct nested *n);
/* L1's host state stands but for what every exit loads: L1 has promised that (core/abi.h, steady), and nothing of it can fail to load. */
static inline bool nested_host_steady(const struct nested *n)
{
	return n->steady12 && n->page && (n->host_loaded || n->below) && n->assist && (READ_ONCE(n->assist->flags) & NEST_ASSIST_STEADY);
}
/* The exit is L1's by vmcs12. vmcs02 loaded. */
bool nested_l1_wants(struct vcpu *v, u32 reason);
/*
 * Exits that nobody but L1 can want, if L1 wants them, and that interrupt no delivery of an event. Whether it wants them says no register
 * but RCX (vmx/exit_family.h, exit_fast).
 */
#define NESTED_FAST_REASONS (BIT(XR_CPUID) | BIT(XR_HLT) | BIT(XR_INVLPG) | BIT(XR_RDTSC) | BIT(XR_VMCALL) | BIT(XR_VMCLEAR) | \
			     BIT(XR_VMLAUNCH) | BIT(XR_VMPTRLD) | BIT(XR_VMPTRST) | BIT(XR_VMREAD) | BIT(XR_VMRESUME) | \
			     BIT(XR_VMWRITE) | BIT(XR_VMXOFF) | BIT(XR_VMXON) | BIT(XR_IO) | BIT(XR_RDMSR) | BIT(XR_WRMSR) | \
			     BIT(XR_INVEPT) | BIT(XR_RDTSCP) | BIT(XR_INVVPID) | BIT(XR_WBINVD) | BIT(XR_XSETBV))

#define NESTED_VMX_REASONS (BIT(XR_VMCLEAR) | BIT(XR_VMLAUNCH) | BIT(XR_VMPTRLD) | BIT(XR_VMRESUME) | BIT(XR_VMXOFF) | BIT(XR_VMXON) | \
			    BIT(XR_INVEPT) | BIT(XR_INVVPID))

/* ---- nested_msr.c ---- */
/* 0, or the number of the entry that failed (1 = first). Precondition: load: the VMCS of the level that gets them is loaded. */
u32 msr_area_load(struct vcpu *v, u64 gpa, u64 count);
u32 msr_area_store(struct vcpu *v, u64 gpa, u64 count);

/* ---- nested_reflect.c ---- */
/* What L1 finds in the exit-information fields. */
struct exit_info {
	u64 reason;
	u64 qualification, linear, physical;
	u64 intr_info, intr_error, idt_info, idt_error, insn_len, insn_info;
};
/* From the loaded VMCS. */
void exit_info_read(struct exit_info *i);
/* An event that waits to be injected is interrupted by this exit: L1 sees it as IDT-vectoring information. */
void exit_info_take_event(const struct vcpu *v, struct exit_info *i);
/* L2 stops, L1 continues at its host state. Precondition: vmcs02 loaded; afterwards vmcs01 is. */
void reflect(struct vcpu *v, const struct exit_info *info);
void reflect_fast(struct vcpu *v, const struct exit_info *info); /* the same; its record in the trace is the caller's */
/* An exit that did not happen in the hardware (interrupt, NMI, INIT for L1). */
void reflect_event(struct vcpu *v, u32 reason, u32 intr_info);
/* vmcs12's exception bitmap, with its filter of page faults. */
bool reflect_wants_exception(const struct vmcs12 *f, u32 vector, u64 error);
/* The same as the hardware exit, but with another reason and qualification (EPT). */
void reflect_as(struct vcpu *v, u32 reason, u64 qualification);

/* ---- nested_host.c ---- */
/*
 * L1's processor state after a VM exit (SDM 3C, Loading Host State), MSR-load area included. l2_ran: EFER and PAT, if
 * not loaded, are L2's (precondition then: vmcs02 loaded); else L1's. nmi: an NMI caused the exit. Afterwards vmcs01 is loaded.
 */
void host_state_load(struct vcpu *v, bool l2_ran, bool nmi);

/* ---- nested_cr.c ---- */
enum exit_action l2_cr_access(struct vcpu *v);

/* ---- nested_irq.c ---- */
/* L2 has been entered in the wait-for-SIPI state: hold the vCPU. Precondition: vmcs02 loaded. */
void irq_wait_sipi(struct vcpu *v);
/* PIR of L2's descriptor into its virtual-APIC page and RVI. Precondition: vmcs02 loaded. */
void irq_drain_l2(struct vcpu *v);

/* ---- nested_shadow.c ---- */
int shadow_create(struct vcpu *v);
void shadow_free(struct vcpu *v);
/* vmcs12 became current / is current no more. vmcs01 loaded. */
void shadow_attach(struct vcpu *v);
void shadow_detach(struct vcpu *v);
/* What L1 wrote -> v12; v12 -> what L1 will read. vmcs01 loaded. */
void shadow_to_v12(struct vcpu *v);
void shadow_from_v12(struct vcpu *v);

#include "vmx/nested_chain.h"
#include "vmx/nested_ept.h"

#endif
