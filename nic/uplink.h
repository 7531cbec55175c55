/*
 * The software half of a NIC's switch: frames of ports in emulation, which share one pool of the NIC, among each other and to and from
 * that pool's rings. It knows no chip; the driver lends it functions.
 *
 * Rules. Outward: a unicast frame for another of these ports in the same VLAN is delivered here and goes no further; a group frame is
 * delivered to all others of that VLAN that want it and goes to the wire, too; all else goes to the wire (where the NIC's own switch
 * finds VFs). Inward: by VLAN and address; group frames to all that want them; a frame whose source is one of these ports is the
 * NIC's replication of what that port has sent, and dropped: everybody here had it already.
 *
 * Identity: a port sends with its own address only. A port with a VLAN sends and receives without tags, which come and go outside;
 * a port without one may send tags of its own, but none of a VLAN that belongs to another port.
 *
 * With an external switch nothing goes from port to port here: all goes to the wire, and what is for another port comes back. A port's
 * VLAN then is its S-VID (IEEE 802.1Q, S-channels), the only name it has outside: C-tags are payload, and frames with its S-tag are for it
 * and nobody else. Ports without one share what has no S-tag; they are told apart by E-TAGs (IEEE 802.1BR), which extenders above put
 * on and look at, so they may send nothing without one. Both kinds may have an E-TAG behind the addresses, which hides nothing:
 * addresses are in front of it. Control frames (LLDP and ECP to the addresses that bridges keep to themselves, perhaps with an E-TAG)
 * belong to the extender above: they go out and come in whatever the port's state. Nothing else that is sent to the two addresses where
 * extenders and VDP speak comes in.
 *
 * Invariant: everything here happens under the driver's data lock; a frame is delivered at most once to each port.
 */
#ifndef NIC_UPLINK_H
#define NIC_UPLINK_H

#include "nic/nic.h"

#define UPLINK_PORTS 8
#define UPLINK_TAG_LEN 4u
#define UPLINK_ETAG_LEN 8u

enum uplink_state {
	UPLINK_OFF,
	UPLINK_UNICAST, /* takes what is addressed to it, but no group frames: on its way back to emulation */
	UPLINK_ON,
};

struct uplink_port {
	enum uplink_state state;
	u8 mac[6];
	u16 vlan;                    /* of the tag outside: C-VLAN, or S-VID with an external switch; 0 = none */
	bool control;                /* external: control frames go through in every state */
	struct nic_rx_filter filter;
	bool touched;                /* something was delivered since the last flush */
};

/* Called under the data lock. port: index into struct uplink.port. */
struct uplink_ops {
	int (*deliver)(void *arg, u32 port, const u8 *frame, u32 len); /* 0, -EAGAIN: no room */
	void (*dropped)(void *arg, u32 port);                          /* … and so it was dropped */
	void (*flush)(void *arg, u32 port);
	/* Send, with a tag if vlan is not 0. 0, -EIO. */
	int (*wire)(void *arg, const u8 *frame, u32 len, u16 vlan);
	/* Is it the VLAN of some port of this NIC, in whatever state? */
	bool (*vlan_taken)(void *arg, u16 vlan);
};

struct uplink_counts {
	u64 local;     /* deliveries from port to port */
	u64 out, in;   /* frames to the wire; from the rings */
	u64 control;   /* of `out`, and deliveries: control frames; 0 unless external */
	u64 echoes;    /* of `in`: replicated to us by the NIC's switch */
	u64 unwanted;  /* of `in`: for nobody here, or malformed */
	u64 refused;   /* not sent: foreign source address, forbidden or missing tag, port not in emulation */
	u64 no_room;   /* deliveries that found no buffer */
	u64 failed;    /* not sent: the ring did not move */
};

struct uplink {
	const struct uplink_ops *ops;
	void *arg;
	u32 max_frame;               /* without FCS, without tags */
	bool external;
	struct uplink_port port[UPLINK_PORTS];
	struct uplink_counts count;
};

/* One frame of a port. 0, -EINVAL (length), -EIO (dropped). */
int uplink_tx(struct uplink *u, u32 from, const u8 *frame, u32 len);
/* One frame of the pool's ring; vlan: of its tag, which the NIC took off, 0 = it had none. */
void uplink_rx(struct uplink *u, const u8 *frame, u32 len, u16 vlan);
/* End of a batch: every port that something was delivered to hears of it. */
void uplink_flush(struct uplink *u);

#endif
