/*
 * The port and its chain of responsibility: one interface, several implementers (DESIGN, The port).
 *
 * A VM's NIC port is a struct nic_port. Its hypercalls (nic/nic_hc.c) decode, translate addresses of the VM into ours, and
 * call port->lower->ops. The lower link is either the PF driver (we are outermost: igb) or the upstream driver (one
 * hypercall to our outer). Nobody above knows which.
 *
 * Lower ports are numbered as found. A PF with virtual functions gives one lower port per VF: port0 is VF 0 of the first
 * NIC, port1 its VF 1, and so on; a second NIC's follow. The outer's port i of this VM is port i. One VM's port binds one
 * lower port, for the VM's life.
 *
 * Invariant: a port reaches its VM's memory only; everything allotted on its behalf is in its books and is given back by
 * port_close, in the order registers, interrupts, quiesce, unmap, scrub, free.
 */
#ifndef NIC_NIC_H
#define NIC_NIC_H

#include "core/abi.h"
#include "core/config.h"
#include "core/time.h"
#include "core/types.h"
#include "core/vm.h"
#include "iommu/iommu.h"

#define NIC_MAX_LOWER 32
#define NIC_MAX_VECTORS 3
#define NIC_REGS_LEN 0x4000ull   /* the VF's BAR0 */

struct nic_lower;
struct nic_port;

/*
 * Where an interrupt of the port goes at this level. lock: everything but port, index and the storm bound; taken by the
 * interrupt handler, on any CPU, without the port's lock; held while posting, never across a call to the lower link.
 */
struct nic_irq {
	struct nic_port *port;
	u32 index;
	spinlock_t lock;
	bool used;
	bool masked;              /* by the VM */
	struct vcpu_core *target; /* vCPU of the VM */
	u8 vector;                /* vector in the VM's vCPU */
	gpa_t pi_gpa;             /* descriptor named by the VM (its inner's), or ~0 */
	hpa_t pi;                 /* the same, ours; or the target's own descriptor when pi_gpa is ~0 */
	u8 pi_vector;
	/* our end of it, for the lower link */
	u32 cpu;                  /* our CPU on which it arrives */
	int host_vector;          /* allotted there, or -1 */
	/* storm bound (nic/port_irq.c) */
	u64 window_start;
	u32 window_count;
	bool throttled;           /* masked at the source by us until the timer fires */
	struct timer unthrottle;
};

/*
 * A request to a lower link: interrupts arrive at (cpu, host_vector) of ours; whoever takes them below us may instead post
 * pi_vector into pi (HPA_NONE: never) while that descriptor's vCPU runs.
 */
struct nic_irq_request { u32 cpu; u8 host_vector; hpa_t pi; u8 pi_vector; };

/*
 * Operations of a lower link. priv: the link's own state for this port (VF, or the outer's handle). All may be called on any
 * CPU, one at a time per port (the port's lock is held). They return 0 or a positive result, or -errno; what they
 * cannot do at all is -ENOTSUP. After a failing call nothing has changed.
 */
struct nic_ops {
	const char *name;
	/* Discover: what the port can do, its MAC, link. Works before alloc. */
	int (*info)(struct nic_lower *l, struct nest_nic_info *out);
	/* Take a VF for the VM; iommu domain empty, nothing mapped, no interrupt. conf: what the configuration demands. */
	int (*alloc)(struct nic_lower *l, struct vm *vm, const struct nic_config *conf);
	/* Change what a guest may change, subject to policy (-EPERM). */
	int (*configure)(struct nic_lower *l, const struct nest_nic_conf *conf);
	/* Where pages 0..3 of the VF's registers are in our physical address space; page 0 is never to be touched directly. */
	int (*map_regs)(struct nic_lower *l, hpa_t *base);
	int (*unmap_regs)(struct nic_lower *l);
	int (*reg_read)(struct nic_lower *l, u32 offset, u32 *value);
	int (*reg_write)(struct nic_lower *l, u32 offset, u32 value);
	int (*dma_map)(struct nic_lower *l, const struct iommu_range *r, u32 n);
	int (*dma_unmap)(struct nic_lower *l, const struct iommu_range *r, u32 n);
	int (*irq_set)(struct nic_lower *l, u32 index, const struct nic_irq_request *req);
	int (*irq_mask)(struct nic_lower *l, u32 index, bool mask);
	int (*irq_clear)(struct nic_lower *l, u32 index);
	/* Totals since alloc. */
	int (*stats)(struct nic_lower *l, struct nest_nic_stats *out);
	/* Stop, scrub, give the VF back; every DMA of it has ended when this returns. -EIO: isolated but lost, never reused. */
	int (*free)(struct nic_lower *l);
};

/* One physical or upstream port that a VM's port can be bound to. */
struct nic_lower {
	const struct nic_ops *ops;
	void *priv;
	u32 index;          /* as in `nic = port<index>` */
	struct nic_port *bound;
};

/*
 * lock: everything below it but irq[].lock's; the lower link's state for this port; the operations, one at a time. Taken by
 * port_enter only (nic/port.h): a CPU must not wait for it while the holder waits for that CPU to flush its TLB.
 */
struct nic_port {
	struct vm *vm;
	u32 index;                       /* of the VM */
	const struct nic_config *cfg;
	struct nic_lower *lower;
	spinlock_t lock;
	bool flushing;                   /* the holder of lock waits for other CPUs: do not wait for it */
	bool open;                       /* VF allocated */
	u32 handle;                      /* what the VM knows it by: random-free, index + 1 + generation << 8 */
	u32 generation;
	bool regs_mapped;
	gpa_t regs;                      /* where the VM sees them */
	struct nic_irq irq[NIC_MAX_VECTORS];
	u64 nr_irqs;                     /* interrupts of the port that this level handled (atomic) */
	/* what is mapped for DMA: needed to check new maps and unmaps */
	struct nic_dma_book *dma;
	struct nest_nic_stats before;    /* totals of earlier openings */
};

/* ---- called by core/main.c ---- */
/*
 * Probe: the outer's ports if there is one, else every NIC we have a driver for. Adds the NIC section to the report. Returns the
 * number of lower ports.
 */
int nic_init(void);
/* Bind hypercalls HC_NIC_*. */
void nic_hypercalls_init(void);
/*
 * vm_arch hooks: ports of a VM from its configuration. A lower port that does not exist leaves a gap in the VM's ports, with a log
 * line; -EBUSY with one if another VM has it, and nothing is bound then. fini: the VM has ended and none of its vCPUs runs; its ports are closed, whatever
 * the VM did, and no device reaches its memory afterwards.
 */
int nic_ports_init(struct vm *vm);
void nic_ports_fini(struct vm *vm);

/* ---- for implementers ---- */
/* Add a lower port. Returns its index, -ENOSPC. */
int nic_lower_add(const struct nic_ops *ops, void *priv);
/* PF driver families probe themselves on one PCI function; first that returns 0 owns it. ids: vendor << 16 | device, 0 ends. */
struct nic_driver { const char *name; const u32 *ids; int (*probe)(rid_t rid); };
extern const struct nic_driver igb_driver;
/* The upstream driver adds one lower port per port that the outer gives us. Returns how many. */
int upstream_init(void);

/*
 * From vmx/ (upward-called here): deliver to a vCPU of ours. post_own: set vector in the vCPU's own descriptor and notify.
 * post_direct: if the vCPU currently runs its inner's guest whose descriptor is pi, post there and return true.
 * Both are called with a nic_irq's lock held and must take no lock of nic/.
 */
struct nic_irq_sink {
	void (*post_own)(struct vcpu_core *v, u8 vector); /* both count nic_irqs of v */
	bool (*post_direct)(struct vcpu_core *v, hpa_t pi, u8 pi_vector);
	/* hpa of a vCPU's own descriptor, HPA_NONE when it is not processed by the CPU (no posted interrupts here). */
	hpa_t (*own_descriptor)(struct vcpu_core *v);
	/* vCPU of the VM with that APIC id, or NULL. */
	struct vcpu_core *(*by_apic_id)(struct vm *vm, u32 apic_id);
};
extern const struct nic_irq_sink *nic_irq_sink;

#endif
