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
struct port_ext;

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
	u32 post;                 /* NEST_POST_*: self-armed; not under lock, but the port's */
	/* our end of it, for the lower link */
	u32 cpu;                  /* our CPU on which it arrives */
	int host_vector;          /* allotted there, or -1 */
	/* storm bound (nic/port_irq.c) */
	u64 window_start;
	u32 window_count;
	u32 idle_count;        /* one after the other that told the vCPU nothing */
	bool throttled;           /* masked at the source by us until the timer fires */
	struct timer unthrottle;
};

/*
 * A request to a lower link: interrupts arrive at (cpu, host_vector) of ours; whoever takes them below us may instead post
 * pi_vector into pi (HPA_NONE: never) while that descriptor's vCPU runs.
 */
struct nic_irq_request { u32 cpu; u8 host_vector; hpa_t pi; u8 pi_vector; };

/* Which group frames a VM's emulated device wants, besides broadcasts. */
struct nic_rx_filter { bool all_groups; u32 nr; u8 group[NEST_MAX_GROUPS][6]; };

/*
 * Frames of ports in emulation: from the device (nic/vnet.h) outward. Frames are whole Ethernet frames without FCS and without the
 * port's own VLAN tag (the outermost adds and takes it). Called without the port's lock, on any CPU: start, stop and rx_filter
 * by the device's control road only, one at a time; tx, tx_flush and fence under the device's transmit lock; rx_more under none.
 * Between start and stop, and not during or after stop, the link calls nic_port_rx and its family.
 */
struct nic_data_ops {
	/* The VM's driver has its device running: take frames for the port's MAC, broadcasts and its groups. -EIO, -ENODEV, -ENOMEM. */
	int (*start)(struct nic_lower *l);
	void (*stop)(struct nic_lower *l);
	/* Send one frame of 14 bytes up to the port's max_frame (+ 4 with a tag); copied before return. -EINVAL (length), -EIO (dropped). */
	int (*tx)(struct nic_lower *l, const u8 *frame, u32 len);
	/* End of a batch: what was handed to tx goes out now. */
	void (*tx_flush)(struct nic_lower *l);
	/* Returns when all frames of tx have left the NIC (at the outermost level: its transmit ring is empty). -ETIMEDOUT. */
	int (*fence)(struct nic_lower *l);
	/* The device has room again after nic_port_rx answered -EAGAIN. */
	void (*rx_more)(struct nic_lower *l);
	void (*rx_filter)(struct nic_lower *l, const struct nic_rx_filter *f);
};

/*
 * Operations of a lower link. priv: the link's own state for this port (VF, or the outer's handle). All may be called on any
 * CPU, one at a time per port (the port's lock is held). They return 0 or a positive result, or -errno; what they
 * cannot do at all is -ENOTSUP. After a failing call nothing has changed.
 */
struct nic_ops {
	const char *name;
	/* Discover: what the port can do, its MAC, link. Works before alloc. */
	int (*info)(struct nic_lower *l, struct nest_nic_info *out);
	/*
	 * Take a VF for the VM; iommu domain empty, nothing mapped, no interrupt. conf: what the configuration demands. flags:
	 * NEST_ALLOC_*; without PARKED frames for the port go to the VF from now on.
	 */
	int (*alloc)(struct nic_lower *l, struct vm *vm, const struct nic_config *conf, u32 flags);
	/* Change what a guest may change, subject to policy (-EPERM, -ENOTSUP); all or nothing. */
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
	/*
	 * Self-armed posting (README.md): whoever has the interrupt below us may deliver it to the guest that runs on the vCPU, whose
	 * descriptor is `page`, without us; HPA_NONE: no more. irq_clear ends it, too. -EPERM (policy), -ENOTSUP.
	 */
	int (*irq_post)(struct nic_lower *l, u32 index, hpa_t page);
	int (*irq_clear)(struct nic_lower *l, u32 index);
	/* Running totals of what went through the VF since the port was bound, over all openings: no emu_ members, dropped or switches. */
	int (*stats)(struct nic_lower *l, struct nest_nic_stats *out);
	/*
	 * Stop, scrub, give the VF back; every DMA of it has ended when this returns. Frames for the port go to its emulated device
	 * (if that runs) from then on. -EIO: isolated but lost, never reused.
	 */
	int (*free)(struct nic_lower *l);
	/* State: as HC_NIC_QUIESCE, _RESUME, _SAVE, _RESTORE. The port fills in and takes out totals and crc (nic/state.h). */
	int (*quiesce)(struct nic_lower *l);
	int (*resume)(struct nic_lower *l);
	int (*save)(struct nic_lower *l, struct nest_nic_state *out);
	int (*restore)(struct nic_lower *l, const struct nest_nic_state *in);
	/*
	 * The mode transaction (nic/port_mode.c). prepare: all that can fail. commit: the switch; *vf_head as HC_NIC_COMMIT returns it; the
	 * link has drained what arrived before and ended with nic_port_rx_end (to pass-through), in this call or, at inner levels,
	 * in order with the frames. abort: undo prepare. Neither can fail.
	 */
	int (*prepare)(struct nic_lower *l, enum nic_mode mode);
	void (*commit)(struct nic_lower *l, enum nic_mode mode, u32 *vf_head);
	void (*abort)(struct nic_lower *l, enum nic_mode mode);
	/* There is an extender of ours (port_ext.h) before the link, for as long as it is bound: whoever is below must know. NULL: nobody is. */
	int (*extender)(struct nic_lower *l);
	/* A piece (up to 4 KiB at a multiple of it) of the plugin for this port's functions. Bytes, 0 = the end; -ENOENT. */
	int (*plugin)(struct nic_lower *l, u32 offset, u8 *piece);
	/* NULL: this link can carry no frames (the port exists without emulation). */
	const struct nic_data_ops *data;
};

/* One physical or upstream port that a VM's port can be bound to. */
struct nic_lower {
	const struct nic_ops *ops;
	void *priv;
	u32 index;          /* as in `nic = port<index>` */
	bool wire;          /* it is a NIC's port of our own: nobody's extender is behind it but the bridge */
	struct nic_port *bound;
	struct port_ext *ext; /* the extender before it (port_ext.h), or NULL */
	const struct nic_data_ops *data; /* where a device's frames go: ops->data, or the extender's */
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
	/* the two states (nic/port_mode.c) */
	struct vnet *dev;                /* (atomic) the emulated device; NULL: this port has none */
	enum nic_mode mode;              /* which state it is in */
	enum nic_mode want;              /* what was asked for (atomic) */
	bool prepared;                   /* a transaction to the other state is prepared */
	bool quiesced;                   /* by the VM */
	bool halted;                     /* by us: the bridge refuses the port */
	bool unsettled;                  /* (atomic) it could not be halted, or go on again, yet */
	u64 patience;                    /* TSC: a transaction is in the way of halting, and may be until then */
	u64 switches;
	u32 wishes;                      /* how many have been made */
	u32 wishes_before;               /* … when the transaction began */
	u32 lower_wishes;                /* how many the level below had seen, when we last looked */
	bool news;                       /* (atomic) something changed further out; taken in by who leaves the port next */
	struct nest_nic_stats base;      /* added to what device and lower link count: a restored state brings totals */
};

/* ---- called by core/main.c ---- */
/*
 * Probe: the outer's ports if there is one, else every NIC we have a driver for, each with its section [nic N] of the configuration,
 * which must stay. Adds the NIC section to the report. Returns the number of lower ports; -EINVAL with a reason in err: a section [nic N] is
 * for a NIC that is not there.
 */
int nic_init(const struct config *c, char *err, size_t errlen);
/* Bind hypercalls HC_NIC_*. */
void nic_hypercalls_init(void);
/* Console commands about ports. */
void nic_monitor_init(void);
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
/* Leave the next number unused: nic_lower_get answers NULL for it. Returns that number, -ENOSPC. */
int nic_lower_skip(void);
/*
 * PF driver families probe themselves on one PCI function. number: N of its section [nic N], counted over all functions that a driver has the
 * ids of, whether they work or not; conf: that section, or NULL. ids: vendor << 16 | device, 0 ends.
 */
struct nic_driver { const char *name; const u32 *ids; int (*probe)(rid_t rid, u32 number, const struct switch_config *conf); };
extern const struct nic_driver igb_driver;
/*
 * Upward, from a lower link's data road; l->bound is the port, which stays while the link is started. Called under the link's own
 * data lock; they take the device's receive lock and below.
 */
/*
 * One frame for the VM. 0 (delivered, or not for it: dropped); -EAGAIN: no buffer; keep it until rx_more, or drop it and say so. Control
 * frames of an external switch (nic/uplink.h) come in every state, from the outermost's NIC on: the VM's device is not for them.
 */
int nic_port_rx(struct nic_port *p, const u8 *frame, u32 len);
void nic_port_rx_dropped(struct nic_port *p);
/* End of a batch: the VM's interrupt, if it wants one. */
void nic_port_rx_flush(struct nic_port *p);
/* The mark at the end of emulation: but for control frames none follows until the port is back in emulation. Cannot fail: it waits for a buffer. */
void nic_port_rx_end(struct nic_port *p);
/*
 * Link, wish or policy below changed: the VM's device raises its configuration-change interrupt, at once or when the port is free. Any
 * CPU; not with the port's lock.
 */
void nic_port_changed(struct nic_port *p);
/* The upstream driver adds one lower port per port that the outer gives us. Returns how many. */
int upstream_init(void);

/*
 * From vmx/ (upward-called here): deliver to a vCPU of ours. post_own: set vector in the vCPU's own descriptor and notify. False: that
 * tells it nothing, it does not run and has this vector waiting (only on the vCPU's own CPU this is sure).
 * post_direct: if the vCPU currently runs its inner's guest whose descriptor is pi, post there and return true.
 * Both are called with a nic_irq's lock held and must take no lock of nic/.
 */
struct nic_irq_sink {
	bool (*post_own)(struct vcpu_core *v, u8 vector); /* both count nic_irqs of v */
	bool (*post_direct)(struct vcpu_core *v, hpa_t pi, u8 pi_vector);
	/* hpa of a vCPU's own descriptor, HPA_NONE when it is not processed by the CPU (no posted interrupts here). */
	hpa_t (*own_descriptor)(struct vcpu_core *v);
	/* vCPU of the VM with that APIC id, or NULL. */
	struct vcpu_core *(*by_apic_id)(struct vm *vm, u32 apic_id);
	/*
	 * Self-armed posting: our vector on the vCPU's CPU is lent to the VMCS that runs the vCPU (inner: its guest, if that names
	 * `vector` and page), and taken back. -ENOTSUP, -EBUSY: vmx/posting.h.
	 */
	int (*arm)(struct vcpu_core *v, bool inner, u8 vector, u8 host_vector, hpa_t page);
	void (*disarm)(struct vcpu_core *v, u8 host_vector);
};
extern const struct nic_irq_sink *nic_irq_sink;

#endif
