/*
 * The port extender's data path (IEEE Std 802.1BR): between a port's user (a guest, or the extender of an inner level: a *cascade*) and
 * its lower link, one to one. It puts the port's E-TAG on what goes out, takes it off what comes in, lets tagged frames of
 * extenders further in through by their E-CID, and keeps control frames on the level that they belong to.
 *
 *   wire      S-channel: the S-tag, which the link below puts on, names the port; only PE control of further extenders has an E-TAG inside
 *             it. The outermost extender, the *edge*, takes the E-TAG off data outward and puts the port's on inward.
 *             Otherwise every frame but the outermost extender's PE control has an E-TAG.
 *   outward   of a guest: untagged only, gets the own E-CID. Of a cascade: tagged with a registered E-CID passes as it is, untagged gets the
 *             own E-CID. No own E-CID yet: in an S-channel data passes untagged, else nothing passes.
 *   inward    own E-CID: the tag comes off. Registered: as registered, with the tag or without. Else nobody's: dropped.
 *             A frame whose ingress E-CID is the own one is the bridge's echo of what the user sent: dropped.
 *   control   PE control (01-80-C2-00-00-03, or the port's own address on a wire without S-tag; LLDP and ECP) is untagged on the lower
 *             link and for this level alone. VDP control (01-80-C2-00-00-00, LLDP and ECP) goes where data goes, to the level
 *             that speaks VDP; by another E-CID of that level (without S-tag) it is another bridge port's: dropped. A guest sends and gets
 *             no frame of 01-80-C2-00-00-00..0F.
 * Without an external switch it is transparent: frames pass untouched.
 *
 * Locks: none here. Calls of extender_tx come one at a time, so do those of extender_rx, and all others (the control road); the three
 * roads may run at the same time on different CPUs. A change by the control road holds for every frame that begins after it.
 *
 * Invariant: a frame leaves with at most one E-TAG, and never with an E-CID that the bridge has not given to this level or to one
 * further in; each frame is passed on, handed over as control, or counted in exactly one dropped[].
 */
#ifndef NIC_EXTENDER_H
#define NIC_EXTENDER_H

#include "nic/etag.h"
#include "nic/frame.h"

#define EXTENDER_UNICAST 16        /* E-CIDs of extenders further in */
#define EXTENDER_GROUPS 16         /* E-CIDs of groups */
#define EXTENDER_FRAME_MAX (9216u + 4u + ETAG_LEN)  /* with a VLAN tag and an E-TAG */
#define EXTENDER_CONTROL_MAX 1500u /* body of a control frame */

/* Where this level stands in speaking VDP (extender_vdp_role). */
enum extender_vdp {
	EXTENDER_VDP_PASS,     /* a level further in speaks: its frames pass */
	EXTENDER_VDP_SPEAK,    /* this level does */
	EXTENDER_VDP_NONE,     /* neither this level nor one further in may */
};

/* The nic option `vdp=`. */
enum extender_vdp_option { EXTENDER_VDP_AUTO, EXTENDER_VDP_HERE, EXTENDER_VDP_OFF };

enum extender_plane { EXTENDER_PE, EXTENDER_VDP };

enum extender_drop {
	EXTENDER_DROP_LENGTH,      /* shorter than a header, or too long */
	EXTENDER_DROP_TAG,         /* an E-TAG cut short or with fields that have no meaning in this direction */
	EXTENDER_DROP_FOREIGN,     /* outward: an E-TAG of a guest's own, or of a cascade with an E-CID that is not registered */
	EXTENDER_DROP_NOBODY,      /* inward: an E-CID that is not for us, or none where there must be one */
	EXTENDER_DROP_RESERVED,    /* a control frame that this user may not send or get */
	EXTENDER_DROP_NO_ECID,     /* outward: the bridge has given us no E-CID yet */
	EXTENDER_DROP_ECHO,        /* inward: reflection suppressed */
	EXTENDER_DROP_LINK,        /* the other side did not take it; the caller was told */
	EXTENDER_DROPS
};

struct extender_counts {
	u64 frames;                    /* passed on */
	u64 inserted, stripped;        /* … with a tag put on, taken off */
	u64 control;                   /* control frames: inward handed over, outward sent by this level */
	u64 dropped[EXTENDER_DROPS];
};

/*
 * Where frames go. down and up return 0, or an error that extender_tx or extender_rx returns in turn; the frame is theirs until they
 * return. control: a control frame of this level, without its Ethernet header; called from extender_rx, under whatever its caller
 * holds, so it may neither send nor wait: it copies the frame and lets the engine have it later.
 */
struct extender_ops {
	int (*down)(void *arg, const u8 *frame, u32 len);
	int (*up)(void *arg, const u8 *frame, u32 len);
	void (*control)(void *arg, enum extender_plane plane, u16 ethertype, const u8 *body, u32 len);
};

struct extender_conf {
	u8 mac[6];                 /* the port's */
	bool external;             /* there is an external switch; false: transparent */
	bool s_channel;            /* the chain ends in an S-channel of the wire */
	bool outermost;            /* our lower link is the wire */
	bool cascade;              /* the user is an extender */
	enum extender_vdp vdp;
};

/* Words of the tables are read and written whole: GRP and E-CID, and whether the tag stays on; 0 = unused. Private to extender.c. */
struct extender {
	const struct extender_ops *ops;
	void *arg;
	const struct tag_codec *codec;
	struct extender_conf conf;
	u32 own;                               /* (atomic) this level's E-CID; 0 = none yet */
	u32 data;                              /* (atomic) E-CID of the port's data: unicast registered last, else own */
	u32 unicast[EXTENDER_UNICAST];         /* (atomic) */
	u32 group[EXTENDER_GROUPS];            /* (atomic) */
	u64 order[EXTENDER_UNICAST], last;     /* in which order they came */
	struct extender_counts out, in;        /* of extender_tx and of extender_rx */
	struct extender_counts control;        /* of what this level sends itself */
	u8 out_frame[EXTENDER_FRAME_MAX + ETAG_LEN];
	u8 in_frame[EXTENDER_FRAME_MAX + ETAG_LEN];
	u8 control_frame[2][FRAME_HEADER_LEN + EXTENDER_CONTROL_MAX + ETAG_LEN];
};

/* Before any frame. arg: of the ops. */
void extender_init(struct extender *x, const struct extender_conf *conf, const struct extender_ops *ops, void *arg);

/* ---- data road: any CPU, one at a time in each direction ---- */
/*
 * One frame of the user, outward. 0: passed on, or dropped and counted; else what ops->down returned (the frame did not leave).
 */
int extender_tx(struct extender *x, const u8 *frame, u32 len);
/* One frame of the lower link, inward. 0: passed on, handed over or dropped; else what ops->up returned (offer it again, or drop it). */
int extender_rx(struct extender *x, const u8 *frame, u32 len);

/* ---- control road: one at a time ---- */
/* The user or its part in VDP has changed. */
void extender_set_user(struct extender *x, bool cascade, enum extender_vdp vdp);
/* This level's E-CID (1..ETAG_ECID_MAX), 0 = none any more. */
void extender_set_own(struct extender *x, u32 ecid);
/*
 * E-channel Register: frames with this E-CID (grp 0: a port's, 1..3 a group's) are for the user, with the tag or without. Again: changed,
 * and now the last.
 * -ENOSPC; -EINVAL: out of range, or the own one.
 */
int extender_register(struct extender *x, u8 grp, u32 ecid, bool tagged);
/* -ENOENT */
int extender_unregister(struct extender *x, u8 grp, u32 ecid);
/* How many more of that kind (grp 0, or any other) can be registered. */
u32 extender_room(const struct extender *x, u8 grp);
/* Is it registered? */
bool extender_registered(const struct extender *x, u8 grp, u32 ecid);
/* All E-CIDs, the own one too: the bridge's word holds no more. */
void extender_forget(struct extender *x);
/*
 * Send one control frame of this level: source address is the port's, destination the plane's group, padded to an Ethernet frame. body
 * begins behind the ethertype. 0; -EINVAL (length; transparent); -EAGAIN: VDP on an E-TAG wire without an E-CID; or as ops->down.
 */
int extender_send_pe(struct extender *x, u16 ethertype, const u8 *body, u32 len);
int extender_send_vdp(struct extender *x, u16 ethertype, const u8 *body, u32 len);

/* ---- pure ---- */
/*
 * Who speaks VDP. claimed: a level further out speaks, or forbids it. At most one level of a chain gets SPEAK, whatever the options are: the
 * outermost with HERE, else the innermost; none if OFF stands outside of both.
 */
enum extender_vdp extender_vdp_role(enum extender_vdp_option option, bool claimed, bool cascade);
/* What the next level in is told: somebody further out speaks or forbids it. */
static inline bool extender_vdp_claims(enum extender_vdp role) { return role != EXTENDER_VDP_PASS; }
/* "reserved", "no_ecid", …; for the console and the report. */
const char *extender_drop_name(enum extender_drop d);

#endif
