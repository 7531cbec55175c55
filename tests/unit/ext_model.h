/*
 * Two VMs that take turns on one port behind an external switch: its extender with both engines, between a device and a lower link that record,
 * on a wire with the model of a controlling bridge; time, timer and the message to the boot CPU are the test's own.
 *
 * Invariant: time goes from deadline to deadline; frames between port and bridge are under way for WIRE_US.
 */
#ifndef TESTS_UNIT_EXT_MODEL_H
#define TESTS_UNIT_EXT_MODEL_H

#include "core/errno.h"
#include "core/hypercall.h"
#include "nic/port.h"
#include "nic/port_ext_priv.h"
#include "nic/vnet.h"
#include "tests/unit/bridge_model.h"
#include "tests/unit/nic_fakes.h"

#define SECOND 1000000ull
#define WIRE_US 50u
#define SENT_MAX 512u

extern struct ext_model {
	u64 now_us;
	u32 skew_us;                 /* how long each look at the clock takes */
	struct bridge bridge;
	struct vm *vm[2];
	u32 who;                     /* has the port */
	/* the lower link */
	u32 flags;                   /* of its info */
	u16 vlan;
	bool no_info;                /* it answers none */
	int fail_info, fail_start, fail_quiesce, fail_resume; /* the next ones */
	bool started, stopped;       /* link; function */
	u32 starts, stops, extenders, quiesces, resumes, aborts;
	struct nic_rx_filter filter;
	u32 nr_sent;                 /* frames; the last ones are kept */
	struct { u32 len; u8 frame[1600]; } sent[SENT_MAX];
	bool cut;                    /* the wire is */
	/* the device */
	u32 changes, nr_got, got_len;
	bool device_started;
	/* the boot CPU */
	u32 kicks;
	bool kicked;
} m;

extern struct vm_config ext_cfg[2];

/* external: behind the switch, by an S-channel or by E-TAGs; VM 0 is bound. */
void model_begin(bool external, bool s_tag);
/* All VMs end; the books must balance but for what the extender of the lower port keeps. */
void model_end(void);
/* VM who gets the port; VM m.who ends. */
void model_bind(u32 who);
void model_unbind(void);
struct nic_port *port(void);
struct port_ext *extender(void);
/* What the device does. */
int device_start(void);
void device_stop(void);
int device_tx(const u8 *frame, u32 len);
/* HC_NIC_* of the VM. */
s64 hc(u32 nr, u64 a0, u64 a1);
void run(u64 us);
/* The boot CPU handles what was sent to it. False: nothing. */
bool take_kick(void);
/* A frame comes in from the wire. */
int wire_in(const u8 *frame, u32 len);
/* Frames that were sent since `from`, of that kind: ethertype behind an E-TAG; control: to a reserved group. */
u32 sent_control(u32 from);
u32 sent_type(u32 from, u16 type);

/* Set up of a test: without an external switch; with it, by S-channel, by E-TAG, by S-channel and with vlan=7. And its end. */
int embedded(void **state);
int s_channel(void **state);
int e_tag(void **state);
int vlan7(void **state);
int end(void **state);
/* Does a data frame of the device reach the link, one of the wire the device? */
bool sends(void);
bool gets(void);
/* Of port_info. */
u32 flags(void);
u16 vlan(void);
/* E-CID and association after a few seconds, with frames since `from`. */
void must_be_associated(u32 from);

#endif
