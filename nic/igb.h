/*
 * The 82576 PF driver, inside: one struct igb per physical function; one struct igb_port per lower port of it, which is an identity
 * (address, VLAN, groups, totals); one struct igb_vf per virtual function, which is hardware. A port in pass-through has a VF, any.
 *
 * Who may touch what (data_lock: igb_data.c): struct igb, the ports, and the PF's registers under igb.lock, except the per-VF registers (queues, IVAR row,
 * causes, mailbox memory) of a VF in state BUSY, which belong to whoever made it BUSY. A port's own fields are guarded by the lock
 * of the nic_port that is bound to it, plus igb.lock for what others look at: vf, identity, hashes, counters, state of VFs.
 */
#ifndef NIC_IGB_H
#define NIC_IGB_H

#include "core/spinlock.h"
#include "core/time.h"
#include "nic/igb_regs.h"
#include "nic/igb_ring.h"
#include "nic/igb_state.h"
#include "nic/msix.h"
#include "nic/nic.h"
#include "nic/sriov.h"
#include "nic/uplink.h"

#define IGB_MAX_PFS 4

enum igb_vf_state {
	VF_ABSENT, /* no virtual functions here (igb.why_no_vf) */
	VF_FREE,
	VF_BUSY,   /* being given or taken back */
	VF_OWNED,
	VF_LOST,   /* could not be reset or flushed: isolated, never given again */
};

/* The VF's end of the mailbox as the guest sees it: page 0 is trapped, so no hardware is involved. */
struct igb_mailbox {
	u32 mem[IGB_MBX_WORDS];
	u32 v2p;
	bool clear_to_send; /* the VF has announced itself by RESET; before that nothing else is granted */
};

/* A 32-bit counter that cannot be cleared, made a 64-bit running total. */
struct igb_counter { u32 last; u64 total; };
enum igb_stat { IGB_STAT_RX, IGB_STAT_TX, IGB_STAT_RX_BYTES, IGB_STAT_TX_BYTES, IGB_STAT_RX_MC, IGB_NR_STATS };

struct igb;
struct igb_port;
struct igb_vf {
	struct igb *pf;
	u32 index;
	rid_t rid;
	enum igb_vf_state state;
	struct vm *vm;
	struct igb_port *port;        /* whose it is; NULL: nobody's */
	struct iommu_domain *domain;
	bool attached;                /* the IOMMU lets it into its domain */
	volatile u8 *regs, *bar3;     /* its BAR0; its MSI-X tables */
	struct msix msix;
	int irte[IGB_VF_VECTORS];     /* handles, or -1 */
	bool irq_masked[IGB_VF_VECTORS];
	bool groups_open;             /* its pool takes group frames: in pass-through, or prepared for it */
	bool quiesced;                /* stopped by igb_state_quiesce: its pool's gates stay shut */
	struct igb_kept kept;         /* … and what it goes on with */
	struct igb_mailbox mbx;
	u64 stat_before[IGB_NR_STATS], faults_before; /* when the VF was given */
};

/* Where frames for a port's address go: what the pool bits of its RAR entry say. */
enum igb_route { IGB_ROUTE_NONE, IGB_ROUTE_PF, IGB_ROUTE_VF };

struct igb_port {
	struct igb *pf;
	u32 index;                    /* also of its RAR entry: IGB_PORT_RAR */
	struct nic_lower *lower;
	struct igb_vf *vf;            /* the function it has, or NULL */
	u32 last_vf;                  /* the one it had last; IGB_MAX_VFS: none yet */
	bool started;                 /* its emulated device takes frames */
	bool opening;                 /* prepared for emulation */
	enum igb_route route;
	/* identity; fixed while the port is in use (started, or a VF given) */
	u8 mac[6];
	u16 vlan;                     /* 0 = none */
	u16 tag;                      /* VID of the tag that its frames have outside: its VLAN, or its S-VID; 0 = none */
	/* what the VF asked for */
	u32 frame;                    /* longest frame with FCS */
	u16 hash[IGB_MBX_MAX_HASHES]; /* through the mailbox */
	u32 nr_hashes;
	struct nic_rx_filter vf_groups; /* by HC_NIC_CONFIGURE */
	u32 rate;                     /* Mb/s, 0 = as fast as the link */
	/* what the emulated device asked for */
	struct nic_rx_filter emu_groups;
	/* totals of all VFs it has had */
	struct igb_counter stat[IGB_NR_STATS];
	u64 faults;                   /* of those before the present one */
};

struct igb {
	spinlock_t lock;
	u32 index;
	rid_t rid;
	volatile u8 *regs;
	struct sriov sriov;
	u32 nr_vfs;
	const char *why_no_vf;
	bool external;                /* switch = external: frames between ports go out and come back by the bridge */
	u16 svid[IGB_MAX_PORTS];      /* S-VIDs then; 0: no S-channel, the port never passes through */
	bool is_model;                /* QEMU's, by its subsystem vendor: what it lacks cannot be seen from its registers */
	struct igb_vf vf[IGB_MAX_VFS];
	struct igb_port port[IGB_MAX_PORTS];
	spinlock_t data_lock;         /* igb_data.c */
	struct igb_ring ring;
	struct uplink uplink;
	struct msix msix;
	u8 mac[6];
	bool link_up;
	u64 link_changes, link_told;  /* told: of how many of them the ports have heard */
	u32 mta[IGB_MTA_WORDS];       /* what the hardware's table holds */
	bool control_open;            /* the entries of the groups of control frames are valid */
	struct timer sampler;         /* reads counters before they wrap */
	bool sampling;
};

static inline u32 igb_read(const struct igb *pf, u32 reg) { return igb_rd32(pf->regs, reg); }
static inline void igb_write(struct igb *pf, u32 reg, u64 v) { igb_wr32(pf->regs, reg, (u32)v); }
static inline void igb_set_bits(struct igb *pf, u32 reg, u64 bits) { igb_write(pf, reg, igb_read(pf, reg) | bits); }
static inline void igb_clear_bits(struct igb *pf, u32 reg, u64 bits) { igb_write(pf, reg, igb_read(pf, reg) & ~bits); }

/* The type of the tags that the hardware puts on and takes off. */
static inline u16 igb_tag_type(const struct igb *pf) { return pf->external ? IGB_TYPE_STAG : IGB_TYPE_CTAG; }
/* The longest frame on the wire, with FCS and all its tags. */
static inline u32 igb_longest(const struct igb *pf) { return pf->external ? IGB_RING_MAX : IGB_MAX_FRAME + IGB_VLAN_LEN; }

extern const struct nic_ops igb_ops;

/* igb_setup.c: the PF's registers from reset to a working switch. -EIO, -ETIMEDOUT: does not obey. */
int igb_reset(struct igb *pf);
void igb_setup_switch(struct igb *pf);
void igb_setup_irq(struct igb *pf);

/* igb_link.c */
/* Restart autonegotiation and return at once; igb_link_poll sees the result. -EIO, -ETIMEDOUT: the PHY does not answer. */
int igb_link_start(struct igb *pf);
/* Read the link state; a change is logged and counted. True if it changed. */
bool igb_link_poll(struct igb *pf);

/* igb_pool.c: what a VF's pool accepts and sends. All under igb.lock. */
/* Everything but the address, which is the port's route. */
void igb_pool_open(struct igb_vf *vf);
void igb_pool_close(struct igb_vf *vf);
/* After the port's frame, hash, vf_groups or the VF's groups_open changed. */
void igb_pool_update(struct igb_vf *vf);
void igb_mta_update(struct igb *pf);
void igb_pool_enable(struct igb_vf *vf, bool on);
/* Back to what a port asks for before it asks: no groups, standard frames. */
void igb_port_forget(struct igb_port *p);

/* The PF's pool: it receives what ports in emulation want, and nothing while there are none. A started port's VLAN is one of its. */
void igb_pf_pool_update(struct igb *pf);
void igb_pf_pool_join(struct igb_port *p);
void igb_pf_pool_leave(struct igb_port *p);

/* igb_port.c: identity and route of a port. */
static inline struct igb_port *igb_port_of(struct nic_lower *l) { return l->priv; }
/* The VF of an open port. */
static inline struct igb_vf *igb_vf_of(struct nic_lower *l) { return igb_port_of(l)->vf; }
static inline bool igb_port_used(const struct igb_port *p) { return p->vf || p->started; }
/* Can a VF have it? A VF's frames have their tag, or none, from the hardware, so without an S-VID an external switch could not tell whose they are. */
static inline bool igb_port_taggable(const struct igb_port *p) { return !p->pf->external || p->pf->svid[p->index]; }
/* Under igb.lock. Before its first use: the address and VLAN that the configuration demands. -EINVAL (taken, or no unicast address). */
int igb_port_identify(struct igb_port *p, const struct nic_config *conf);
void igb_port_refused(const struct igb_port *p, const struct vm *vm); /* says why */
/* The one write that moves the address. Under both locks, so that either is enough to look at a route. */
void igb_port_route(struct igb_port *p, enum igb_route route);
/* Without a transaction: to its VF; from there to the emulated device, if that runs; or as the device has started or stopped. */
void igb_route_vf(struct igb_port *p);
void igb_route_fall_back(struct igb_port *p);
void igb_route_device(struct igb_port *p);
int igb_info(struct nic_lower *l, struct nest_nic_info *out);

/* igb_data.c: frames of ports in emulation. */
extern const struct nic_data_ops igb_data_ops;
int igb_data_init(struct igb *pf);
/* Under igb.data_lock: hand on what is in the receive ring up to a head; a frame that lies across it is waited for. */
void igb_data_drain(struct igb *pf, u32 head);
void igb_data_irq(void *arg, u8 vector);

/* igb_plugin.c: the plugin for its VFs. */
u32 igb_plugin_len(void);
int igb_plugin(struct nic_lower *l, u32 offset, u8 *piece);

/* igb_conf.c: HC_NIC_CONFIGURE; NEST_CAP_* that this hardware has an effect for. */
u32 igb_caps(const struct igb *pf);
int igb_configure(struct nic_lower *l, const struct nest_nic_conf *conf);
/* A length without FCS that a port may have. */
bool igb_frame_ok(u32 max_frame);
/* With FCS and a tag of the guest's own: the longest frame that the configuration of the VM's port leaves to it. */
u32 igb_frame_limit(const struct igb_port *p);
/* After the port's rate changed; after the link's speed changed. Under igb.lock. */
void igb_rate_update(struct igb_vf *vf);
void igb_rate_link_changed(struct igb *pf);

/* igb_state.c: HC_NIC_QUIESCE and its family. */
int igb_state_quiesce(struct nic_lower *l);
int igb_state_resume(struct nic_lower *l);
int igb_state_save(struct nic_lower *l, struct nest_nic_state *out);
int igb_state_restore(struct nic_lower *l, const struct nest_nic_state *in);

/* igb_mode.c: the mode transaction. */
int igb_prepare(struct nic_lower *l, enum nic_mode mode);
void igb_commit(struct nic_lower *l, enum nic_mode mode, u32 *vf_head);
void igb_abort(struct nic_lower *l, enum nic_mode mode);

/* igb_scrub.c: registers that belong to a VF, seen from the PF. The VF is BUSY. */
/* Stop its queues. -ETIMEDOUT: one did not stop. */
int igb_quiesce(struct igb_vf *vf);
/* Nothing that an owner wrote is left (FACTS: VF reset alone leaves rings, vectors, masks and mailbox behind). */
void igb_scrub(struct igb_vf *vf);

/* igb_mbx.c */
/* One request: msg is answered in place. Under igb.lock. Returns the words of the answer. */
u32 igb_mbx_answer(struct igb_vf *vf, u32 msg[IGB_MBX_WORDS]);
void igb_mbx_reset(struct igb_vf *vf);
/* The mailbox registers as the guest sees them. Under igb.lock. */
u32 igb_mbx_read(struct igb_vf *vf, u32 offset);
void igb_mbx_write(struct igb_vf *vf, u32 offset, u32 value);
/* Requests and resets that arrived in the hardware's mailboxes. Under igb.lock. */
void igb_mbx_service(struct igb *pf);
/* Tell a VF that the link changed. Under igb.lock. */
void igb_mbx_ping(struct igb_vf *vf);

/* igb_vfreg.c: page 0 of a VF, and its counters */
int igb_reg_read(struct nic_lower *l, u32 offset, u32 *value);
int igb_reg_write(struct nic_lower *l, u32 offset, u32 value);
/* Take the counters' present values as the start of a new opening; add what came since. Under igb.lock. */
void igb_stats_start(struct igb_vf *vf);
void igb_stats_sample(struct igb_vf *vf);
int igb_stats(struct nic_lower *l, struct nest_nic_stats *out);

/* igb_irq.c: interrupts, of the VFs by their IRTEs, of the PF itself */
int igb_irq_set(struct nic_lower *l, u32 index, const struct nic_irq_request *req);
int igb_irq_mask(struct nic_lower *l, u32 index, bool mask);
int igb_irq_post(struct nic_lower *l, u32 index, hpa_t page);
int igb_irq_clear(struct nic_lower *l, u32 index);
/* The PF's own vectors on CPU 0: link and mailboxes, its receive queue. By remapping where there is some. */
#define IGB_PF_VECTOR_OTHER 0
#define IGB_PF_VECTOR_RX 1
int igb_pf_irq_init(struct igb *pf);

/* igb_vf.c */
/* The IOMMU could not be flushed for it: isolate it, end its VM, never use it again. */
void igb_vf_lose(struct igb_vf *vf, const char *what);

#endif
