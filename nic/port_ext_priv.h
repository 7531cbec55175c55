/*
 * A port's extender, inside: port_ext.c is its life and the data road, port_ext_control.c the engines and their frames.
 *
 * Locks: `control` covers the engines, `up` and who needs it; it is held while control frames go out and while the link starts and stops.
 * The boot CPU's handler only tries it: whoever holds it may wait for the link. `inbox_lock` is a leaf, taken under the link's data lock.
 * The data roads take none: see extender.h. The timer belongs to the boot CPU alone.
 *
 * Invariant: what a bridge or a guest can cause is bounded per port: so many control frames a second are looked at, all others cost no more than
 * a data frame; so many sessions a second are begun with the bridge, and so many lines said, however often the port goes up and down; one
 * message to the boot CPU is under way.
 */
#ifndef NIC_PORT_EXT_PRIV_H
#define NIC_PORT_EXT_PRIV_H

#include "core/time.h"
#include "nic/pe_csp.h"
#include "nic/port_ext.h"
#include "nic/vdp.h"

#define EXT_HOME 0u                /* CPU of the engines */
#define EXT_INBOX 8u
#define EXT_FRAMES 64u             /* control frames that are taken in at once, and … */
#define EXT_FRAME_US 5000u         /* … one more in that time */
#define EXT_SESSIONS 4u            /* the same of sessions */
#define EXT_SESSION_US 1000000u
#define EXT_LINES 40u              /* the same of lines on the console */
#define EXT_LINE_US 10000000u
#define EXT_TICK_US 1000u          /* the engines run no more often */
#define EXT_CHECK_US 1000000u      /* does the function do what the bridge said? */

struct inbox_frame { enum extender_plane plane; u16 ethertype; u32 len; u8 body[EXTENDER_CONTROL_MAX]; };

/* One of each lower port, made when it is first bound and never freed: a late interrupt or timer finds it, at worst down. */
struct port_ext {
	struct nic_lower *lower;
	spinlock_t control;
	bool device, function;      /* who needs the link … */
	bool up;                    /* … and it is started */
	bool sending;               /* (atomic) the device may send: it is started, and so are we */
	bool begun;                 /* the engines are up */
	bool speaking;              /* the VDP station, too */
	u32 data;                   /* E-CID by which it speaks */
	bool announced;             /* the port's user is an extender */
	bool told_vlan;             /* that vlan= has no effect */
	struct nic_rx_filter filter; /* the device's */
	struct extender x;
	struct pe_csp_engine pe;
	struct vdp_station vdp;
	u64 sessions, lines;        /* rates of them (ext_rate) */
	u64 check_us;               /* look after the function; DEADLINE_NONE */
	u16 vlan;                   /* (atomic) of the bridge's answer */
	bool refused;               /* (atomic) it is not what the configuration demands, or the bridge has not yet said what it is */
	bool news;                  /* the port's information has changed */
	struct inbox_frame taken;
	/* the boot CPU's */
	struct timer timer;
	int vector;
	bool kicked;                /* (atomic) our vector is on its way */
	spinlock_t inbox_lock;
	struct inbox_frame inbox[EXT_INBOX];
	u32 inbox_first, inbox_nr;
	u64 frames;                 /* rate of them */
	u64 inbox_full;             /* control frames for which there was no room */
	u64 flood;                  /* … that were too many */
};

static inline const struct nic_data_ops *ext_link(const struct port_ext *e) { return e->lower->ops->data; }
static inline u64 ext_now(void) { return rdtsc() / (tsc_khz() / 1000); }

/* When the next one may be, of `burst` at once and one more each time. */
static inline u64 ext_rate_next(u64 rate, u32 burst, u64 each_us)
{
	u64 ahead = (burst - 1) * each_us;
	return rate > ahead ? rate - ahead : 0;
}

/* One now; false: not yet. */
static inline bool ext_rate(u64 *rate, u32 burst, u64 each_us, u64 now_us)
{
	if (now_us < ext_rate_next(*rate, burst, each_us))
		return false;
	*rate = MAX(*rate, now_us) + each_us;
	return true;
}

/* ---- port_ext_control.c ---- */
/*
 * This level's part in VDP for the port as it is now: its vdp=, what the lower link's info says of levels further out, whether the
 * user is an extender. Any lock: what it reads changes only while the port is down.
 */
enum extender_vdp ext_vdp_role(const struct port_ext *e, const struct nic_port *p, const struct nest_nic_info *info);
/* As extender_ops.control: under the link's data lock. */
void ext_control_in(void *arg, enum extender_plane plane, u16 ethertype, const u8 *body, u32 len);
/* Make HOME look. */
void ext_kick(struct port_ext *e);
/* The timer, and the vector of irq_alloc on HOME; they take control if they can. */
void ext_work(void *arg);
void ext_work_irq(void *arg, u8 vector);

/* ---- the same, under control ---- */
/* Engines for the port as it is now; nothing is said yet. ops: of the extender. */
void ext_engines_init(struct port_ext *e, const struct nic_port *p, const struct nest_nic_info *info, const struct extender_ops *ops);
/* Begin to speak, if so soon is not too often. */
void ext_engines_up(struct port_ext *e, u64 now_us);
/* Say good-bye, once: nobody will be here for an answer. */
void ext_engines_down(struct port_ext *e, u64 now_us);
/* Gives control back; then news go on, for they reach the port and its device. */
void ext_leave(struct port_ext *e);

#endif
