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
 *         -EAGAIN (HC_NIC_* only) another vCPU of the caller is taking a port's registers away: call again.
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
#define NEST_ABI_VERSION 1u

#define NEST_FEAT_NIC (1u << 0)  /* HC_NIC_* present */
#define NEST_FEAT_PI (1u << 1)   /* the outer can post into descriptors given to HC_NIC_IRQ_SET */

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
	/* () Print every level's counters since the last print as @report lines, outermost last. 0. */
	HC_REPORT = 3,

	/* (port) Fill struct nest_nic_info for one of this VM's ports into the record page. 0, -ENOENT (also: the machine lacks it). */
	HC_NIC_INFO = 16,
	/*
	 * (port) Make the port's virtual function ours. Returns a handle > 0. -EBUSY (open already), -ENODEV (no VF free, no IOMMU,
	 * no interrupt remapping: the console says which), -EPERM (the configuration says emulation).
	 */
	HC_NIC_ALLOC = 17,
	/* (handle) Record page: struct nest_nic_conf. Policy is decided outermost: -EPERM if refused. -ENOTSUP, -EINVAL. */
	HC_NIC_CONFIGURE = 18,
	/*
	 * (handle, gpa) Make the VF's registers appear at gpa (16 KiB, aligned, outside RAM and devices). Page 0 is trapped, pages
	 * 1..3 are the hardware. -EEXIST (mapped already), -EINVAL.
	 */
	HC_NIC_MAP_REGS = 19,
	/* (handle) Take them away again. */
	HC_NIC_UNMAP_REGS = 20,
	/*
	 * (handle, n) Record page: n struct nest_nic_dma (n <= NEST_DMA_MAX). The VF may from now on reach these ranges of our
	 * memory at the given iova. All or nothing. -EFAULT (outside RAM), -EEXIST, -EINVAL, -ENOMEM.
	 */
	HC_NIC_DMA_MAP = 21,
	/* (handle, n) The same list (iova and len); on return the VF cannot reach it any more. */
	HC_NIC_DMA_UNMAP = 22,
	/*
	 * (handle, index) Record page: struct nest_nic_irq. Deliver MSI-X vector `index` of the VF as described. Also retargets.
	 * -EINVAL (index, vector < 16, no such APIC id), -EFAULT (descriptor).
	 */
	HC_NIC_IRQ_SET = 23,
	/* (handle, index, mask) 1 = block at the source, 0 = unblock. */
	HC_NIC_IRQ_MASK = 24,
	/* (handle, index) Tear down. */
	HC_NIC_IRQ_CLEAR = 25,
	/* (handle) Record page: struct nest_nic_stats, running totals of the port. */
	HC_NIC_STATS = 26,
	/* (handle, offset) Read a 32-bit register of the VF's page 0; offset < 4096. Value, or negative. */
	HC_NIC_REG_READ = 27,
	/* (handle, offset, value) Write one, as policed by the outermost level. -EPERM if this register is not the guest's. */
	HC_NIC_REG_WRITE = 28,
	/* (handle) Stop, scrub and give back. All maps of the handle are gone afterwards. */
	HC_NIC_FREE = 29,
	HC_MAX
};

struct nest_phase { char name[32]; };

#define NEST_NIC_LINK_UP (1u << 0)
struct nest_nic_info {
	uint8_t mac[6];
	uint16_t vlan;         /* 0 = none */
	uint32_t mode;         /* 0 emulation, 1 pass-through (configured) */
	uint32_t flags;        /* NEST_NIC_* */
	uint32_t max_frame;    /* bytes, without FCS */
	uint16_t rx_queues, tx_queues, irq_vectors, reserved0;
	uint32_t family;       /* 1 = Intel 82576 VF */
	uint32_t reserved[8];
};

struct nest_nic_conf {
	uint32_t what;         /* bit set of NEST_CONF_* that follow */
	uint8_t mac[6];
	uint16_t vlan;
	uint32_t max_frame;
	uint32_t reserved[4];
};
#define NEST_CONF_MAC (1u << 0)
#define NEST_CONF_VLAN (1u << 1)
#define NEST_CONF_MAX_FRAME (1u << 2)

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

struct nest_nic_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_multicast;
	uint64_t irqs;         /* MSI-X messages taken by the outermost level for this port */
	uint64_t faults;       /* DMA or interrupt faults of the VF */
	uint64_t reserved[9];
};

_Static_assert(sizeof(struct nest_nic_info) == 64, "ABI record");
_Static_assert(sizeof(struct nest_nic_conf) == 32, "ABI record");
_Static_assert(sizeof(struct nest_nic_dma) == 32, "ABI record");
_Static_assert(sizeof(struct nest_nic_dma) * NEST_DMA_MAX == 4096, "a full list is one page");
_Static_assert(sizeof(struct nest_nic_irq) == 24, "ABI record");
_Static_assert(sizeof(struct nest_nic_stats) == 128, "ABI record");
_Static_assert(HC_MAX <= 64, "counters have room");

#endif
