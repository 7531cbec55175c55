/*
 * The contract between a Nestling and what runs inside it: its guests and inner instances alike. Both sides, and guests
 * in other trees, include this file; it needs only <stdint.h>.
 *
 * Call:   VMCALL from CPL 0 (from elsewhere: #UD). Number in RAX, arguments in RDI RSI RDX R10 R8 R9.
 *         RAX returns 0 or a positive result, or a negated error number of core/errno.h. Other registers are kept.
 * Find:   CPUID 40000000h: EAX = highest leaf, EBX ECX EDX = "NestlingNest".
 *         CPUID 40000001h: EAX = ABI version, EBX = feature bits NEST_FEAT_*, ECX = number of NIC ports of this VM.
 *         CPUID 40000002h: EAX = depth: 1 for what runs directly in the outermost instance, 2 inside that …
 *         CPUID 40000003h: EAX = TSC frequency in kHz.
 * Lists:  records pass through one 4 KiB page per vCPU, which the caller registers (HC_RECORD_PAGE). It is copied
 *         before it is looked at, so changing it during a call has no effect but on the changer.
 * Errors common to all calls: -ENOSYS unknown number; -EINVAL malformed argument; -EFAULT gpa outside the caller's
 *         memory or no record page registered; -ENOENT handle or port does not exist (a handle of another VM does not);
 *         -EAGAIN (HC_NIC_* only) another vCPU of the caller is taking a port's registers away: call again;
 *         -EIO (HC_NIC_* with a handle, HC_NIC_PREPARE) the function is lost: it could not be isolated from the caller's memory in
 *         order, is switched off for good, and the VM that it belongs to is ended.
 * Who:    any vCPU of the VM unless a call says otherwise.
 */
#ifndef CORE_ABI_H
#define CORE_ABI_H

#include <stdint.h>

#define NEST_CPUID_BASE 0x40000000u
#define NEST_CPUID_FEATURES 0x40000001u
#define NEST_CPUID_DEPTH 0x40000002u
#define NEST_CPUID_TSC 0x40000003u
#define NEST_SIG_EBX 0x7473654eu /* "Nest" */
#define NEST_SIG_ECX 0x676e696cu /* "ling" */
#define NEST_SIG_EDX 0x7473654eu /* "Nest" */
#define NEST_ABI_VERSION 2u

#define NEST_FEAT_NIC (1u << 0)  /* HC_NIC_* present */
#define NEST_FEAT_PI (1u << 1)   /* the outer can post into descriptors given to HC_NIC_IRQ_SET */
#define NEST_FEAT_VMCS_PAGE (1u << 2) /* HC_VMX_ASSIST; only where the VM may use VMX */
#define NEST_FEAT_PREMAP (1u << 3) /* HC_EPT_PREMAP; the same */
#define NEST_FEAT_DELEGATE (1u << 4) /* VMCS pages may delegate */

/* Exit port: a byte written to this I/O port ends the VM with that code. */
#define NEST_EXIT_PORT 0xf4

enum nest_hypercall {
	/* (gpa) Register the calling vCPU's record page (4 KiB aligned RAM); ~0 unregisters. 0, -EFAULT, -EINVAL. */
	HC_RECORD_PAGE = 1,
	/*
	 * (phase) A phase of the measurement begins; record page: struct nest_phase with its name, which is what phases are told
	 * apart by (empty: "phase<number>"); other arguments are ignored. Every level counts what follows under that name, after it
	 * passed the call to its own outer. A name may come back: its counts go on. phase 0..15. 0, -EINVAL, -ENOSPC (more than 16
	 * names), -ENOMEM.
	 */
	HC_PHASE = 2,
	/*
	 * () Print every level's counters since the last print as @report lines, outermost last; of levels with a trace also its new
	 * records as @trace lines, outermost first. 0.
	 */
	HC_REPORT = 3,
	/*
	 * (levels, op, index) Injected failures, for tests: the points of the level that is `levels` further out (0 = the one called).
	 * op NEST_FAULT_QUERY: the number of points; record page: struct nest_fault of point `index` (if it exists).
	 * NEST_FAULT_ARM: point `index` fails the next time it is reached, once. NEST_FAULT_DISARM: none does. -EPERM (a level on the way
	 * is not configured with fault_injection = on), -ENOENT (no such level or point), -EINVAL.
	 */
	HC_FAULT = 4,

	/*
	 * A port has two states for the whole chain of levels: emulation (its frames go through the virtio-net device at
	 * nest_nic_info.emu_rid) and pass-through (they go through a virtual function). HC_NIC_ALLOC to HC_NIC_FREE deal with the
	 * function, HC_NIC_PREPARE to HC_NIC_FENCE with the switch between the states; see "The mode transaction" below.
	 */
	/* (port) Fill struct nest_nic_info for one of this VM's ports into the record page. 0, -ENOENT (also: the machine lacks it). */
	HC_NIC_INFO = 16,
	/*
	 * (port, flags) Make a virtual function ours. Returns a handle > 0. Without flags the port is in pass-through at once (a cold
	 * start: frames on their way through the emulated device may be lost). NEST_ALLOC_PARKED: the port stays in emulation until a
	 * transaction ends. NEST_ALLOC_OTHER: another function than the last one of this port, if there is a choice. -EBUSY (open
	 * already), -ENODEV (no VF free, no IOMMU, no interrupt remapping: the console says which), -EPERM (a level's configuration
	 * says passthrough=off, or demands an identity that another level refuses), -EINVAL (flags; the configured address is taken or
	 * no unicast address), -ENOMEM, -ETIMEDOUT or -ENOTSUP (the function does not do what it must), -EIO.
	 */
	HC_NIC_ALLOC = 17,
	/*
	 * (handle) Record page: struct nest_nic_conf. All or nothing. Policy is decided outermost, each level on the way may refuse:
	 * -EPERM. -ENOTSUP (the hardware has no effect for it, see nest_nic_info.caps), -EINVAL.
	 */
	HC_NIC_CONFIGURE = 18,
	/*
	 * (handle, gpa) Make the VF's registers appear at gpa (16 KiB, aligned, outside RAM and devices). Page 0 is trapped, pages
	 * 1..3 are the hardware. -EEXIST (mapped already), -EINVAL, -ENOMEM.
	 */
	HC_NIC_MAP_REGS = 19,
	/* (handle) Take them away again. 0, -EINVAL (not mapped). */
	HC_NIC_UNMAP_REGS = 20,
	/*
	 * (handle, n) Record page: n struct nest_nic_dma (n <= NEST_DMA_MAX). The VF may from now on reach these ranges of our
	 * memory at the given iova. All or nothing. -EFAULT (outside RAM), -EEXIST, -EINVAL, -ENOMEM.
	 */
	HC_NIC_DMA_MAP = 21,
	/*
	 * (handle, n) The same list (iova and len), or parts of it; on return the VF cannot reach it any more. All or nothing. -EINVAL
	 * (not mapped), -ENOMEM (what would be left are too many pieces).
	 */
	HC_NIC_DMA_UNMAP = 22,
	/*
	 * (handle, index) Record page: struct nest_nic_irq. Deliver MSI-X vector `index` of the VF as described. Also retargets.
	 * -EINVAL (index, vector < 16, no such APIC id), -EFAULT (descriptor), -EBUSY (self-armed: HC_NIC_IRQ_POST), -ENOMEM or -ENOSPC (a level has no vector or no remapping
	 * entry left). After an error what was set up before still holds.
	 */
	HC_NIC_IRQ_SET = 23,
	/* (handle, index, mask) 1 = block at the source, 0 = unblock. 0, -EINVAL (arguments, not set up). */
	HC_NIC_IRQ_MASK = 24,
	/* (handle, index) Tear down. 0, -EINVAL (index, not set up). */
	HC_NIC_IRQ_CLEAR = 25,
	/* (handle) Record page: struct nest_nic_stats, running totals of the port over both states and all openings. */
	HC_NIC_STATS = 26,
	/* (handle, offset) Read a 32-bit register of the VF's page 0; offset < 4096, a multiple of 4. Value; -EINVAL (offset). */
	HC_NIC_REG_READ = 27,
	/* (handle, offset, value) Write one, as policed by the outermost level. 0, -EINVAL, -EPERM (this register is not the guest's). */
	HC_NIC_REG_WRITE = 28,
	/*
	 * (handle) Stop, scrub and give back. All maps of the handle are gone afterwards. The port is then in emulation, whatever its
	 * state was; a prepared transaction is aborted. 0; -EAGAIN: nothing has changed; any other error: done, and the handle is gone,
	 * but the function did not come back in order and is not given again.
	 */
	HC_NIC_FREE = 29,
	/*
	 * (handle) Stop the function's queues; their heads, tails and rings stay. Frames for the port are lost meanwhile unless it is in
	 * emulation. 0 (also if quiesced already), -EBUSY (a transaction is prepared), -ETIMEDOUT (a queue does not stop; nothing
	 * changed), -EIO (the function is lost).
	 */
	HC_NIC_QUIESCE = 30,
	/*
	 * (handle) Start them again where they stopped. 0, -EINVAL (not quiesced), -ETIMEDOUT (a queue does not start; it stays quiesced),
	 * -EIO (the function is lost), -EPERM (see NEST_NIC_EXTERNAL: the bridge refuses the port; it stays quiesced).
	 */
	HC_NIC_RESUME = 31,
	/* (handle) Record page: struct nest_nic_state of a quiesced function. -EBUSY (not quiesced). */
	HC_NIC_SAVE = 32,
	/*
	 * (handle) Record page: struct nest_nic_state. Put a saved state into this function, which need not be the one it was
	 * saved from; it is quiesced before and after. DMA maps and interrupts are not part of it. -EBUSY (not quiesced), -EINVAL (damaged,
	 * another version or family, values that no function can have), -EPERM (the identity is not this port's).
	 */
	HC_NIC_RESTORE = 33,
	/*
	 * The mode transaction. `mode` is the state to come, NEST_MODE_*. 0 unless said otherwise.
	 * (port, mode) Reserve whatever can fail at every level. To pass-through: the port is open (parked), its ring primed; from now on
	 * group frames reach the function, too. -EALREADY (is in that state), -EBUSY (another transaction, or the function is quiesced),
	 * -ENOENT (port; to pass-through: not open), -EPERM (policy of a level), -EIO (to pass-through: the function is lost; to
	 * emulation: the VM's emulated device does not run).
	 */
	HC_NIC_PREPARE = 34,
	/*
	 * (port, mode) The switch; cannot fail after a prepare (-EINVAL without one). Returns the head of the function's receive queue 0 at
	 * the moment of the switch: to pass-through, group frames before it have been delivered by the emulated device as well;
	 * to emulation, frames before it are all that the function delivers and group frames behind it come by the emulated device as well.
	 * To pass-through, the emulated device ends with the mark struct nest_nic_end in place of a frame.
	 */
	HC_NIC_COMMIT = 35,
	/* (port, mode) Undo a prepare. 0, -EINVAL (none, or not for that mode). */
	HC_NIC_ABORT = 36,
	/* (port) Returns when every frame that the emulated device was given before has left the NIC. -ETIMEDOUT. */
	HC_NIC_FENCE = 37,
	/*
	 * (port, offset) The outermost level's plugin for the port's functions (core/plugin.h): up to 4096 bytes from a multiple of 4096
	 * on, into the record page. Returns how many, 0 at the end; -ENOENT (there is none), -EINVAL.
	 */
	HC_NIC_PLUGIN = 38,
	/*
	 * (port, mode) An administrator's wish, shown to the VM by nest_nic_info.want and a configuration-change interrupt of its device.
	 * The last wish counts, of whatever level; a switch ends those made before it began. 0, -EPERM (for pass-through: NEST_NIC_MAY_PASS
	 * is not set). A level whose configuration says passthrough=off does not hand a wish for it on, and says so on its console.
	 */
	HC_NIC_WANT = 39,
	/* (port) As HC_NIC_STATS, in any state. */
	HC_NIC_PORT_STATS = 40,
	/*
	 * (handle, index, how, gpa) Self-armed posting of vector `index`, which HC_NIC_IRQ_SET has set up: see below. how NEST_POST_SELF: the
	 * 4 KiB page of RAM at gpa becomes the posted-interrupt descriptor of the vCPU that the vector goes to. NEST_POST_GUEST, for a
	 * hypervisor: that vCPU runs a guest by a VMCS whose descriptor is the page at gpa and whose notification vector is the
	 * vector. NEST_POST_OFF: no more of it; gpa is ignored, and on return nobody but the caller writes to the page. HC_NIC_IRQ_CLEAR and
	 * HC_NIC_FREE end it, too. -ENOTSUP (a processor without posted interrupts, further out perhaps), -EPERM (a level's configuration
	 * says posting=off), -EBUSY (on already; the vCPU has one such vector, and no more), -EINVAL (index, how, alignment; not set up;
	 * off already), -EFAULT. After an error interrupts come as before.
	 */
	HC_NIC_IRQ_POST = 41,
	/*
	 * (port) For a hypervisor, before it starts the port's emulated device: what uses the port is a port extender (IEEE Std 802.1BR), which
	 * gets and sends frames with E-TAGs and looks after the port's association with the bridge unless NEST_NIC_VDP_OUTER is set. Until
	 * the VM ends. 0 (also where NEST_NIC_EXTERNAL is not set: nothing changes), -ENOENT (port), -EBUSY (the port is in use).
	 */
	HC_NIC_EXTENDER = 42,

	/*
	 * (gpa) Register the calling vCPU's assist page, struct nest_vmx_assist in 4 KiB aligned RAM; ~0 unregisters. See "VMCS pages"
	 * below. 0, -EINVAL (alignment), -EFAULT, -EPERM (the VM may not use VMX).
	 */
	HC_VMX_ASSIST = 48,
	/*
	 * (eptp, n, height) Record page: n struct nest_premap (n <= NEST_PREMAP_MAX), ranges of guest-physical addresses under the
	 * caller's own EPT tables with this EPTP; height > 0: under those of the guest that runs that many levels further in, on the
	 * caller's behalf ("Delegation"; the calling vCPU has run it last). The outer translates them now, for the calling vCPU, so that
	 * the guest finds them without an exit; and again by itself whenever it has forgotten them (INVEPT, a change of its own tables),
	 * until another list for the same EPTP takes its place (n = 0: none) or VMXOFF. Returns how many bytes of the ranges are
	 * translated: never more than the caller's tables have; less if that would take too many tables, too long (NEST_PREMAP_LEAVES) or
	 * more memory than there is. What is left out is translated when it is used first, as ever. With accessed and dirty flags, only
	 * what has its flags. Not for guests with mode-based execute control. -EINVAL (alignment, wraps, no legal EPTP, height, not in VMX
	 * operation), -EPERM (as above; height without NEST_FEAT_DELEGATE).
	 */
	HC_EPT_PREMAP = 49,
	HC_MAX
};

/*
 * VMCS pages: a vmcs12 in plain memory, for inners that know us (NEST_FEAT_VMCS_PAGE). The inner writes and reads fields by loads and
 * stores and names the page in its assist page; the outer reads both at VMLAUNCH and VMRESUME only, so neither VMREAD, VMWRITE nor
 * VMPTRLD exits. VMCLEAR with the page's address ends its use; it is executed on the vCPU that used the page last, before
 * another one uses it and before its memory is used for something else. For the VMX instructions a VMCS page is not a current VMCS:
 * VMREAD and VMWRITE fail with VMfailInvalid, VMPTRST stores FFFFFFFF_FFFFFFFFh.
 *
 * The outer copies what has changed once and then checks and uses the copy. What has changed it is told by the group bits in
 * `clean`: a set bit says that nothing in that group was written since this vCPU's last VM exit from the page. All bits are set by
 * the outer at each VM exit and ignored at the first entry after VMCLEAR, another page, or a failed entry. A bit that lies harms only
 * the liar. Fields in no group are always read: RIP, RSP, RFLAGS, pending debug exceptions, interruptibility, activity and
 * guest-interrupt status, preemption timer value, TPR threshold, VM-entry interruption information, error code and instruction length.
 */
#define NEST_GROUP_CONTROLS (1u << 0)  /* control fields that are in no other group */
#define NEST_GROUP_BITMAPS (1u << 1)   /* contents of the MSR and I/O bitmaps */
#define NEST_GROUP_SEGMENTS (1u << 2)  /* guest selectors, bases, limits, access rights; GDTR, IDTR */
#define NEST_GROUP_REGISTERS (1u << 3) /* the rest of the guest state; CR0/CR4 masks and read shadows */
#define NEST_GROUP_HOST (1u << 4)      /* the host state */
#define NEST_GROUPS_ALL ((1u << 5) - 1)

/*
 * Delegation (NEST_FEAT_DELEGATE), for flat nesting. A VMCS page whose guest is an inner Nestling that uses VMCS pages itself may name that
 * guest's assist page in `delegate` (an address in the guest's own memory; read with NEST_GROUP_CONTROLS). The outer then performs the
 * guest's VMLAUNCH and VMRESUME of VMCS pages itself, composing all the VMCSs and EPTs of the chain, and hands exits of what runs
 * there straight to whom they belong to; and so on inward, from page to page, so any depth costs two hardware exits per reflected
 * exit. All else is as without. What the delegating level is shown of it are only exits that are its own: of its guest, with the
 * guest's state at its last VMRESUME; what it then injects into its guest ends the stay further in by an exit to its guest. What runs
 * further in waits while the page is not current (`further_in` says so), for the vCPU that ran it; it ends when the page is next
 * cleared or left with `delegate` NEST_VMCS_NONE, or its memory becomes another page. An INIT for the guest's processor, which VMX operation
 * blocks outside what runs there, is told by `init` (read with NEST_GROUP_CONTROLS): the outer makes it an exit of what runs there, at once
 * or when that is entered next, and writes 0 then. A guest that is to wait for a SIPI there is not entered by the outer: VMLAUNCH or
 * VMRESUME is an exit of the guest to the delegating level, which knows whether one comes. The outer keeps a bounded number of such pages
 * for a vCPU; beyond that it does not delegate. A VMCS page
 * entered this way has no MSR areas, and its owner is steady (NEST_ASSIST_STEADY); else the entry fails with error 7.
 */
#define NEST_VMCS_NONE (~0ull)
struct nest_vmx_assist {
	uint64_t vmcs_page;    /* gpa of the VMCS page that VMLAUNCH and VMRESUME run; NEST_VMCS_NONE: the current VMCS as ever */
	uint64_t flags;        /* NEST_ASSIST_* */
	uint64_t reserved[6];
};
/*
 * steady: at each VMLAUNCH and VMRESUME, the processor state that a VM exit loads from the host-state area (SDM 3C, Loading Host State),
 * but for RIP, RSP, RFLAGS and CR3, is as the last VM exit from this page left it. The outer may then leave it alone. Not true: the
 * inner goes on with what it had.
 */
#define NEST_ASSIST_STEADY (1u << 0)

/*
 * Slot of a field by its encoding (SDM 3D, Appendix B; bit 0 clear): by type, width, index. VM-exit information is there as in a
 * VMCS.
 */
#define NEST_VMCS_WIDTH_BASE(width) ((width) == 0 ? 0u : (width) == 1 ? 16u : (width) == 2 ? 56u : 88u)
#define NEST_VMCS_SLOT(enc) \
	(((uint32_t)(enc) >> 10 & 3) * 120 + NEST_VMCS_WIDTH_BASE((uint32_t)(enc) >> 13 & 3) + ((uint32_t)(enc) >> 1 & 0x3f))
#define NEST_VMCS_SLOTS 480u
#define NEST_VMCS_REVISION 0x4e564d31u /* "NVM1" */
struct nest_vmcs_page {
	uint32_t revision;     /* NEST_VMCS_REVISION */
	uint32_t abort;        /* VMX-abort indicator; 100h: what ran further in is lost, or is on another vCPU. Not zero: refused */
	uint32_t launched;     /* launch state, while the page is not current */
	uint32_t clean;        /* NEST_GROUP_* */
	uint64_t delegate;     /* see "Delegation"; NEST_VMCS_NONE: none */
	uint64_t further_in;   /* the outer's; the inner writes 0 when it makes the page, and never again */
	uint32_t init;         /* 1: an INIT waits for the guest's processor, see "Delegation"; 0 */
	uint32_t reserved[7];
	uint64_t field[NEST_VMCS_SLOTS]; /* zero-extended; what does not exist is ignored */
};
_Static_assert(sizeof(struct nest_vmcs_page) <= 4096, "ABI page");

/* 4 KiB aligned both. */
struct nest_premap { uint64_t gpa, len; };
#define NEST_PREMAP_MAX 8u
#define NEST_PREMAP_LEAVES 2048u /* translated for one list at a time */

#define NEST_ALLOC_PARKED (1u << 0)
#define NEST_ALLOC_OTHER (1u << 1)

#define NEST_MODE_EMULATION 0u
#define NEST_MODE_PASSTHROUGH 1u

#define NEST_FAULT_QUERY 0u
#define NEST_FAULT_ARM 1u
#define NEST_FAULT_DISARM 2u
struct nest_fault { char name[48]; uint64_t reached, fired; };

struct nest_phase { char name[32]; };

#define NEST_NIC_LINK_UP (1u << 0)
#define NEST_NIC_MAY_PASS (1u << 1)   /* pass-through is possible and allowed: flags of every level agree */
/*
 * NEST_NIC_EXTERNAL. If a level's configuration demands a VLAN and the bridge answers another one, the level refuses the port: LINK_UP and MAY_PASS
 * are not set, frames are dropped, a function of it stands still as after HC_NIC_QUIESCE, HC_NIC_ALLOC and HC_NIC_RESUME answer -EPERM; a
 * transaction then ends soon or is aborted. That ends when the bridge associates the port with that VLAN: then a function goes on by
 * itself, unless the VM has quiesced it.
 */
#define NEST_NIC_EXTERNAL (1u << 2)   /* the bridge behind the outermost's wire switches for this port; the same for the port's whole life */
#define NEST_NIC_S_CHANNEL (1u << 4)  /* external: an S-tag of its own names the port on the wire; else its E-TAG does */
#define NEST_NIC_VDP_OUTER (1u << 3)  /* a level further out associates the port with that bridge (VDP), or forbids it: who asks must not */
/* What the hardware behind a virtual function really does; HC_NIC_CONFIGURE answers -ENOTSUP to what is missing here. */
#define NEST_CAP_RSS (1u << 0)
#define NEST_CAP_RATE (1u << 1)
#define NEST_CAP_SPOOF_CHECK (1u << 2)
#define NEST_CAP_CHECKSUM (1u << 3)
#define NEST_CAP_TSO (1u << 4)
#define NEST_CAP_VLAN (1u << 5)
#define NEST_CAP_PROMISC_GROUPS (1u << 6)
struct nest_nic_info {
	uint8_t mac[6];
	uint16_t vlan;         /* 0 = none */
	uint32_t mode;         /* as configured: NEST_MODE_*, the state to start in */
	uint32_t flags;        /* NEST_NIC_* */
	uint32_t max_frame;    /* bytes, without FCS */
	uint16_t rx_queues, tx_queues, irq_vectors;
	uint16_t emu_rid;      /* bus << 8 | device << 3 | function of the emulated device in this VM; 0 = none */
	uint32_t family;       /* 1 = Intel 82576 VF */
	uint32_t caps;         /* NEST_CAP_* */
	uint32_t state;        /* NEST_MODE_*, now */
	uint32_t want;         /* NEST_MODE_*: what an administrator or the configuration asked for */
	uint32_t plugin_len;   /* bytes of the plugin that HC_NIC_PLUGIN hands out; 0 = none */
	uint32_t wishes;       /* how often that was asked for since this VM began; modulo 2^32 */
	uint32_t reserved[3];
};

/* The mark at the end of emulation: where a frame would be (no frame is that short). */
struct nest_nic_end { uint8_t magic[8]; };
#define NEST_NIC_END_MAGIC "NESTEND"

#define NEST_MAX_GROUPS 32u
#define NEST_RSS_KEY 40u
#define NEST_RSS_TABLE 128u
struct nest_nic_conf {
	uint32_t what;         /* bit set of NEST_CONF_* that follow */
	uint8_t mac[6];
	uint16_t vlan;
	uint32_t max_frame;
	uint32_t rate;         /* Mb/s, 0 = no limit */
	uint32_t flags;        /* NEST_CONF_FLAG_* */
	uint32_t rss_types;    /* hash types as in MRQC[31:16] of the 82576 */
	uint32_t nr_groups;    /* group addresses that follow */
	uint8_t rss_key[NEST_RSS_KEY];
	uint8_t rss_table[NEST_RSS_TABLE]; /* queue of each hash value */
	uint8_t group[NEST_MAX_GROUPS][6];
	uint32_t reserved[4];
};
#define NEST_CONF_MAC (1u << 0)
#define NEST_CONF_VLAN (1u << 1)
#define NEST_CONF_MAX_FRAME (1u << 2)
#define NEST_CONF_GROUPS (1u << 3)
#define NEST_CONF_RATE (1u << 4)
#define NEST_CONF_RSS (1u << 5)
#define NEST_CONF_SPOOF_CHECK (1u << 6)  /* flags */
#define NEST_CONF_PROMISC (1u << 7)      /* flags */
#define NEST_CONF_ALL ((1u << 8) - 1)
#define NEST_CONF_FLAG_SPOOF_CHECK (1u << 0)
#define NEST_CONF_FLAG_ALL_GROUPS (1u << 1)
#define NEST_CONF_FLAG_PROMISC (1u << 2)

#define NEST_DMA_READ (1u << 0)
#define NEST_DMA_WRITE (1u << 1)
struct nest_nic_dma { uint64_t iova, gpa, len; uint32_t perm, reserved; };
#define NEST_DMA_MAX 128u

/*
 * Interrupt delivery. With pi_gpa: if the vCPU with this APIC id currently runs a guest whose posted-interrupt descriptor is
 * the one at pi_gpa (a gpa of the caller), pi_vector is posted to it and the caller notices nothing; in all other cases
 * `vector` is raised at the caller's vCPU. With pi_gpa = ~0 always the latter.
 */
struct nest_nic_irq { uint32_t vector; uint32_t apic_id; uint64_t pi_gpa; uint32_t pi_vector; uint32_t reserved; };

/*
 * Self-armed posting: the interrupt costs no VM exit at any level while the vCPU runs. The processor delivers the vectors whose bits are set
 * in the descriptor (SDM 3C, Posted-Interrupt Processing: 256 bits from the page's start) when the interrupt comes, and clears
 * them; the guest sets the bit of its vector again, by a locked instruction, before it unmasks the device, and looks for work after that.
 * Interrupts come without a bit, too (the vCPU did not run), more than once, and late. If one comes while no bit is set, nothing happens. The
 * page belongs to the guest, which may write to it as it likes: nothing but the delivery to this vCPU depends on it;
 * where the interrupt cannot be delivered by the processor, it comes as HC_NIC_IRQ_SET says. While it is on, HC_NIC_IRQ_SET of this
 * index is -EBUSY. Interrupts that the processor delivers are counted nowhere.
 */
#define NEST_POST_OFF 0u
#define NEST_POST_SELF 1u
#define NEST_POST_GUEST 2u

/* Octets are counted without FCS, at every level and in both states. */
struct nest_nic_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_multicast;
	uint64_t irqs;         /* MSI-X messages taken by the outermost level for this port: not those of self-armed posting */
	uint64_t faults;       /* DMA or interrupt faults of the VF */
	/* of the above, through the emulated device of the level that answers */
	uint64_t emu_rx_packets, emu_rx_bytes, emu_tx_packets, emu_tx_bytes, emu_rx_multicast;
	uint64_t dropped;      /* frames for the VM's emulated device that found no buffer */
	uint64_t switches;     /* transactions committed */
	uint64_t reserved[2];
};

/*
 * A function's state, portable between functions of one family. totals: running totals of the port, of which a restore makes
 * the port's own. body: what the family defines (nic/igb_state.c). crc: CRC-32 (IEEE 802.3) of the whole record with crc = 0.
 */
struct nest_nic_state {
	uint32_t magic, version, len, crc;
	uint32_t family;
	uint8_t mac[6];
	uint16_t vlan;
	uint32_t max_frame, nr_groups;
	uint8_t group[NEST_MAX_GROUPS][6];
	uint32_t reserved0;
	struct nest_nic_stats totals;
	uint8_t body[512];
	uint8_t reserved[152];
};
#define NEST_STATE_MAGIC 0x5453454eu /* "NEST" */
#define NEST_STATE_VERSION 1u

_Static_assert(sizeof(struct nest_nic_info) == 64, "ABI record");
_Static_assert(sizeof(struct nest_nic_conf) == 408, "ABI record");
_Static_assert(sizeof(struct nest_nic_dma) == 32, "ABI record");
_Static_assert(sizeof(struct nest_nic_dma) * NEST_DMA_MAX == 4096, "a full list is one page");
_Static_assert(sizeof(struct nest_nic_irq) == 24, "ABI record");
_Static_assert(sizeof(struct nest_nic_stats) == 128, "ABI record");
_Static_assert(sizeof(struct nest_nic_state) == 1024, "ABI record");
_Static_assert(sizeof(struct nest_nic_end) == 8, "ABI record");
_Static_assert(HC_MAX <= 64, "counters have room");

#endif
