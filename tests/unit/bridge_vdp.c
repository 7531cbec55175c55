/*
 * The VDP side of the unit tests' bridge (bridge_model.h): one port, one VSI.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/bridge_model.h"

#define LLDP_US 30000000ull
#define KEEP(b) ((1 + 2 * 3) * (10ull << 14) + (10ull << (b)->evb.rka))

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void put_vdp(struct bridge *b, u16 type, const u8 *body, u32 len)
{
	bridge_put(b, FRAME_NEAREST_CUSTOMER_BRIDGE, type, body, len, b->vdp.channel);
}

static void put_lldp(struct bridge *b, u16 ttl)
{
	struct bridge_vdp *d = &b->vdp;
	u8 pdu[256], name[2] = { (u8)('p' + (b->same_port ? 0 : d->channel % 8)), (u8)('0' + b->name) };
	struct lldp l = { { LLDP_CHASSIS_MAC, 6, BRIDGE_MAC }, { LLDP_PORT_LOCAL, 2, name }, .ttl = ttl, .has_evb = !b->no_evb, .evb = b->evb };
	l.evb.station = d->heard ? d->station.station : 0;
	l.evb.remote_wait = d->heard && d->station.rwd >= l.evb.rwd;
	l.evb.remote_keep = d->heard && d->station.rka >= l.evb.rka;
	d->lldp_us = b->now_us;
	int n = lldp_build(pdu, sizeof(pdu), &l);
	check(n > 0);
	put_vdp(b, FRAME_TYPE_LLDP, pdu, (u32)n);
}

static void vdp_send(void *arg, const u8 *pdu, u32 len) { put_vdp(arg, FRAME_TYPE_ECP, pdu, len); }
static void vdp_done(void *arg, bool acknowledged, u64 now_us) { (void)arg, (void)acknowledged, (void)now_us; }

static void vdp_put(struct bridge *b, const struct vdp_vsi *v)
{
	u8 pdu[256];
	struct vdp_pdu p = { .nr_vsis = 1 };
	memcpy(p.manager, b->vdp.manager, VDP_ID_LEN);
	p.vsi[0] = *v;
	int n = vdp_build(pdu, sizeof(pdu), &p);
	check(n > 0);
	ecp_link_cancel(&b->vdp.ecp);
	check(!ecp_link_request(&b->vdp.ecp, pdu, (u32)n, b->now_us));
}

static void vdp_answer(struct bridge *b, const struct vdp_vsi *v)
{
	struct bridge_vdp *d = &b->vdp;
	struct vdp_vsi a = *v;
	d->nr_preassoc += v->type == VDP_PREASSOC;
	d->nr_assoc += v->type == VDP_ASSOC;
	d->nr_deassoc += v->type == VDP_DEASSOC;
	if (d->associated && v->type == VDP_ASSOC) /* alive, whatever we shall answer */
		d->keep_us = b->now_us + KEEP(b) * 3 / 2;
	if (b->vdp_silent) {
		b->vdp_silent--;
		return;
	}
	a.status = VDP_ACK;
	if (b->vdp_refuse && v->type != VDP_DEASSOC) {
		b->vdp_refuse--;
		a.status |= b->vdp_status;
		if (b->refuse_by_deassoc)
			a.type = VDP_DEASSOC;
		if (!(b->vdp_status & VDP_KEEP))
			d->associated = d->preassociated = false;
	} else {
		u16 vid = b->force_vid ? b->force_vid : v->filter[0].vid ? v->filter[0].vid : b->vid;
		a.filter[0].vid = v->type == VDP_DEASSOC ? v->filter[0].vid : vid;
		d->associated = v->type == VDP_ASSOC;
		d->preassociated = v->type == VDP_PREASSOC;
		d->vid = d->associated ? vid : 0;
		d->vsi = a;
		d->keep_us = b->now_us + KEEP(b) * 3 / 2;
	}
	vdp_put(b, &a);
}

static void vdp_deliver(void *arg, const u8 *payload, u32 len, u64 now_us)
{
	struct bridge *b = arg;
	struct vdp_pdu p;
	(void)now_us;
	if (vdp_parse(payload, len, &p)) {
		b->nr_bad++;
		return;
	}
	memcpy(b->vdp.manager, p.manager, VDP_ID_LEN);
	vdp_answer(b, &p.vsi[0]);
}
static const struct ecp_link_ops vdp_ops = { .send = vdp_send, .deliver = vdp_deliver, .done = vdp_done };

static void vdp_begin(struct bridge *b, u32 channel)
{
	struct bridge_vdp old = b->vdp;
	b->vdp = (struct bridge_vdp){ .on = true, .channel = channel, .nr_preassoc = old.nr_preassoc, .nr_assoc = old.nr_assoc,
	                              .nr_deassoc = old.nr_deassoc, .nr_lldp = old.nr_lldp };
	ecp_link_init(&b->vdp.ecp, ECP_VDP, (u16)(b->life * 5), &vdp_ops, b);
}

static void vdp_lldp(struct bridge *b, const struct lldp *l)
{
	b->vdp.nr_lldp++;
	bool news = b->vdp.heard != (l->has_evb && l->ttl) || memcmp(&b->vdp.station, &l->evb, sizeof(l->evb));
	b->vdp.heard = l->has_evb && l->ttl;
	b->vdp.station = l->evb;
	if (l->ttl && (news || (!b->same_port && b->now_us - b->vdp.lldp_us >= 1000000)))
		put_lldp(b, 120);
}

void bridge_dissolve(struct bridge *b, u8 error)
{
	struct vdp_vsi v = b->vdp.vsi;
	v.type = VDP_DEASSOC;
	v.status = error;
	b->vdp.associated = b->vdp.preassociated = false;
	vdp_put(b, &v);
}

void bridge_vdp_receive(struct bridge *b, u32 ecid, u16 type, const u8 *body, u32 len)
{
	struct lldp l;
	if (!b->vdp.on || (b->vdp.channel != ecid && !b->same_port))
		vdp_begin(b, ecid);
	b->vdp.channel = ecid;
	if (type == FRAME_TYPE_ECP)
		ecp_link_receive(&b->vdp.ecp, body, len, b->now_us);
	else if (lldp_parse(body, len, &l))
		b->nr_bad++;
	else
		vdp_lldp(b, &l);
}

void bridge_vdp_tick(struct bridge *b)
{
	struct bridge_vdp *d = &b->vdp;
	if (!d->on)
		return;
	ecp_link_tick(&d->ecp, b->now_us);
	if ((d->associated || d->preassociated) && b->now_us >= d->keep_us) {
		d->nr_expired++;
		bridge_dissolve(b, 0);
	}
	if (b->now_us - d->lldp_us >= LLDP_US)
		put_lldp(b, 120);
}

void bridge_vdp_shutdown(struct bridge *b)
{
	if (b->vdp.on)
		put_lldp(b, 0);
}
