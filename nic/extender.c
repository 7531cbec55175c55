/*
 * The port extender's data path (extender.h).
 *
 * Each road reads a word of the tables once per frame and goes by that.
 */
#include "nic/extender.h"

#include "core/errno.h"

/* A word of the tables: GRP and E-CID as in the tag, and whether it stays on. */
#define WORD_ECID BITS(19, 0)
#define WORD_GRP BITS(21, 20)
#define WORD_CHANNEL BITS(21, 0)
#define WORD_TAGGED BIT(31)

static u32 word_of(u8 grp, u32 ecid) { return (u32)(FIELD_PREP(WORD_GRP, grp) | ecid); }

/* ---- frames ---- */

static bool is_reserved(const u8 *to) { return !memcmp(to, FRAME_NEAREST_CUSTOMER_BRIDGE, 5) && to[5] < 16; }
static bool is_to(const u8 *frame, const u8 *mac) { return !memcmp(frame, mac, FRAME_MAC_LEN); }
static bool is_control_type(u16 type) { return type == FRAME_TYPE_LLDP || type == FRAME_TYPE_ECP; }

/* What a frame is, whose ethertype (behind a tag of ours, if it has one) is type. */
enum kind { DATA, PE_CONTROL, VDP_CONTROL, RESERVED };

static enum kind kind_of(const u8 *frame, u16 type)
{
	if (!is_reserved(frame))
		return DATA;
	if (is_control_type(type) && is_to(frame, FRAME_NEAREST_NON_TPMR_BRIDGE))
		return PE_CONTROL;
	return is_control_type(type) && is_to(frame, FRAME_NEAREST_CUSTOMER_BRIDGE) ? VDP_CONTROL : RESERVED;
}

/* The tag of a tagged frame, which must be whole and the only one; its kind is as if it were not there. */
static bool open_tag(const struct extender *x, const u8 *frame, u32 len, struct etag *t, enum kind *k)
{
	if (x->codec->parse(frame, len, t) || tag_is(x->codec, frame + x->codec->tag_len, len - x->codec->tag_len))
		return false;
	*k = kind_of(frame, frame_type(frame + x->codec->tag_len));
	return true;
}

static int drop(struct extender_counts *c, enum extender_drop why)
{
	c->dropped[why]++;
	return 0;
}

static int pass(struct extender *x, struct extender_counts *c, int (*to)(void *arg, const u8 *frame, u32 len), const u8 *frame, u32 len)
{
	int r = to(x->arg, frame, len);
	if (r)
		c->dropped[EXTENDER_DROP_LINK]++;
	else
		c->frames++;
	return r;
}

static int pass_tagged(struct extender *x, struct extender_counts *c, int (*to)(void *arg, const u8 *frame, u32 len), u8 *room,
                       const u8 *frame, u32 len, u32 ecid)
{
	int n = x->codec->insert(room, EXTENDER_FRAME_MAX + ETAG_LEN, frame, len, &(struct etag){ .ecid = ecid });
	if (n < 0)
		return drop(c, EXTENDER_DROP_LENGTH);
	int r = pass(x, c, to, room, (u32)n);
	c->inserted += !r;
	return r;
}

static int pass_stripped(struct extender *x, struct extender_counts *c, int (*to)(void *arg, const u8 *frame, u32 len), u8 *room,
                         const u8 *frame, u32 len)
{
	int n = x->codec->strip(room, EXTENDER_FRAME_MAX, frame, len, NULL);
	if (n < 0)
		return drop(c, EXTENDER_DROP_TAG);
	int r = pass(x, c, to, room, (u32)n);
	c->stripped += !r;
	return r;
}

/* ---- the tables ---- */

static u32 table_of(struct extender *x, u8 grp, u32 **table)
{
	*table = grp ? x->group : x->unicast;
	return grp ? EXTENDER_GROUPS : EXTENDER_UNICAST;
}

static u32 find(struct extender *x, u8 grp, u32 ecid)
{
	u32 *table, n = table_of(x, grp, &table), i;
	for (i = 0; i < n; i++)
		if (table[i] && (table[i] & WORD_CHANNEL) == word_of(grp, ecid))
			break;
	return i;
}

/* The word of an E-CID as registered; 0: it is not. */
static u32 lookup(const struct extender *x, u8 grp, u32 ecid)
{
	const u32 *table = grp ? x->group : x->unicast;
	u32 n = grp ? EXTENDER_GROUPS : EXTENDER_UNICAST;
	for (u32 i = 0; i < n; i++) {
		u32 word = READ_ONCE(table[i]);
		if (word && (word & WORD_CHANNEL) == word_of(grp, ecid))
			return word;
	}
	return 0;
}

/* Data of the port has the unicast E-CID that was registered last and belongs further in. */
static void choose_data(struct extender *x)
{
	u32 data = x->own;
	u64 newest = 0;
	for (u32 i = 0; i < EXTENDER_UNICAST; i++)
		if (x->unicast[i] & WORD_TAGGED && x->order[i] > newest) {
			newest = x->order[i];
			data = (u32)(x->unicast[i] & WORD_ECID);
		}
	WRITE_ONCE(x->data, data);
}

void extender_set_own(struct extender *x, u32 ecid)
{
	if (ecid)
		(void)extender_unregister(x, 0, ecid); /* it cannot be both */
	WRITE_ONCE(x->own, ecid);
	choose_data(x);
}

int extender_register(struct extender *x, u8 grp, u32 ecid, bool tagged)
{
	u32 *table, n = table_of(x, grp, &table), i;
	if (grp > 3 || !ecid || ecid > ETAG_ECID_MAX || (!grp && ecid == x->own))
		return -EINVAL;
	i = find(x, grp, ecid);
	for (u32 k = 0; i == n && k < n; k++)
		if (!table[k])
			i = k;
	if (i == n)
		return -ENOSPC;
	WRITE_ONCE(table[i], word_of(grp, ecid) | (tagged ? (u32)WORD_TAGGED : 0));
	if (!grp)
		x->order[i] = ++x->last;
	choose_data(x);
	return 0;
}

int extender_unregister(struct extender *x, u8 grp, u32 ecid)
{
	u32 *table, n = table_of(x, grp, &table), i = find(x, grp, ecid);
	if (i == n)
		return -ENOENT;
	WRITE_ONCE(table[i], 0);
	choose_data(x);
	return 0;
}

u32 extender_room(const struct extender *x, u8 grp)
{
	const u32 *table = grp ? x->group : x->unicast;
	u32 n = grp ? EXTENDER_GROUPS : EXTENDER_UNICAST, free = 0;
	for (u32 i = 0; i < n; i++)
		free += !table[i];
	return free;
}

bool extender_registered(const struct extender *x, u8 grp, u32 ecid) { return lookup(x, grp, ecid); }

void extender_forget(struct extender *x)
{
	for (u32 i = 0; i < EXTENDER_UNICAST; i++)
		WRITE_ONCE(x->unicast[i], 0);
	for (u32 i = 0; i < EXTENDER_GROUPS; i++)
		WRITE_ONCE(x->group[i], 0);
	extender_set_own(x, 0);
}

/* ---- outward ---- */

static bool is_edge(const struct extender *x) { return x->conf.s_channel && x->conf.outermost; }

/* Which frames its user may send; which of those that are not for this level it may get. */
static bool may_have(const struct extender *x, enum kind k)
{
	if (k == DATA)
		return true;
	return x->conf.cascade && (k == PE_CONTROL || (k == VDP_CONTROL && x->conf.vdp == EXTENDER_VDP_PASS));
}

static int out_untagged(struct extender *x, const u8 *frame, u32 len)
{
	enum kind k = kind_of(frame, frame_type(frame));
	u32 own = READ_ONCE(x->own);
	if (!may_have(x, k))
		return drop(&x->out, EXTENDER_DROP_RESERVED);
	if (!own && (k == PE_CONTROL || !x->conf.s_channel))
		return drop(&x->out, EXTENDER_DROP_NO_ECID);
	if (k != PE_CONTROL && (!own || is_edge(x)))
		return pass(x, &x->out, x->ops->down, frame, len);
	return pass_tagged(x, &x->out, x->ops->down, x->out_frame, frame, len, own);
}

static int out_tagged(struct extender *x, const u8 *frame, u32 len)
{
	struct etag t;
	enum kind k;
	if (!x->conf.cascade)
		return drop(&x->out, EXTENDER_DROP_FOREIGN);
	if (!open_tag(x, frame, len, &t, &k) || t.grp || t.ingress)
		return drop(&x->out, EXTENDER_DROP_TAG);
	if (!(lookup(x, 0, t.ecid) & WORD_TAGGED))
		return drop(&x->out, EXTENDER_DROP_FOREIGN);
	if (!may_have(x, k))
		return drop(&x->out, EXTENDER_DROP_RESERVED);
	if (is_edge(x) && k != PE_CONTROL)
		return pass_stripped(x, &x->out, x->ops->down, x->out_frame, frame, len);
	return pass(x, &x->out, x->ops->down, frame, len);
}

int extender_tx(struct extender *x, const u8 *frame, u32 len)
{
	if (!x->conf.external)
		return pass(x, &x->out, x->ops->down, frame, len);
	if (len < FRAME_HEADER_LEN || len > EXTENDER_FRAME_MAX)
		return drop(&x->out, EXTENDER_DROP_LENGTH);
	return tag_is(x->codec, frame, len) ? out_tagged(x, frame, len) : out_untagged(x, frame, len);
}

/* ---- inward ---- */

static int hand_over(struct extender *x, enum extender_plane plane, const u8 *frame, u32 len, u32 tag_len)
{
	u32 header = FRAME_HEADER_LEN + tag_len;
	x->in.control++;
	x->ops->control(x->arg, plane, frame_type(frame + tag_len), frame + header, len - header);
	return 0;
}

/* PE control of this very level; frame is untagged. */
static bool is_for_us(const struct extender *x, const u8 *frame, enum kind k)
{
	bool shared = x->conf.outermost && !x->conf.s_channel;
	return k == PE_CONTROL || (shared && is_to(frame, x->conf.mac) && is_control_type(frame_type(frame)));
}

/* Each E-CID is a port of the bridge, with a VDP of its own; in an S-channel all are the same one. */
static bool is_from_our_port(const struct extender *x, const struct etag *t) { return x->conf.s_channel || t->ecid == READ_ONCE(x->data); }

static int in_untagged(struct extender *x, const u8 *frame, u32 len)
{
	enum kind k = kind_of(frame, frame_type(frame));
	u32 data = READ_ONCE(x->data);
	if (is_for_us(x, frame, k))
		return hand_over(x, EXTENDER_PE, frame, len, 0);
	if (!x->conf.s_channel)
		return drop(&x->in, EXTENDER_DROP_NOBODY);
	if (k == VDP_CONTROL && x->conf.vdp == EXTENDER_VDP_SPEAK)
		return hand_over(x, EXTENDER_VDP, frame, len, 0);
	if (!may_have(x, k))
		return drop(&x->in, EXTENDER_DROP_RESERVED);
	if (is_edge(x) && x->conf.cascade && data != READ_ONCE(x->own))
		return pass_tagged(x, &x->in, x->ops->up, x->in_frame, frame, len, data);
	return pass(x, &x->in, x->ops->up, frame, len);
}

static int in_tagged(struct extender *x, const u8 *frame, u32 len)
{
	struct etag t;
	enum kind k;
	if (!open_tag(x, frame, len, &t, &k))
		return drop(&x->in, EXTENDER_DROP_TAG);
	u32 own = READ_ONCE(x->own);
	bool mine = own && !t.grp && t.ecid == own;
	u32 word = mine ? word_of(0, own) : lookup(x, t.grp, t.ecid);
	bool stays = word & WORD_TAGGED;
	if (!word || (stays && !x->conf.cascade))
		return drop(&x->in, EXTENDER_DROP_NOBODY);
	if (own && t.ingress == own)
		return drop(&x->in, EXTENDER_DROP_ECHO);
	if (k == VDP_CONTROL && !t.grp && x->conf.vdp == EXTENDER_VDP_SPEAK)
		return is_from_our_port(x, &t) ? hand_over(x, EXTENDER_VDP, frame, len, x->codec->tag_len) : drop(&x->in, EXTENDER_DROP_NOBODY);
	if (!may_have(x, k))
		return drop(&x->in, EXTENDER_DROP_RESERVED);
	if (stays)
		return pass(x, &x->in, x->ops->up, frame, len);
	return pass_stripped(x, &x->in, x->ops->up, x->in_frame, frame, len);
}

int extender_rx(struct extender *x, const u8 *frame, u32 len)
{
	if (!x->conf.external)
		return pass(x, &x->in, x->ops->up, frame, len);
	if (len < FRAME_HEADER_LEN || len > EXTENDER_FRAME_MAX)
		return drop(&x->in, EXTENDER_DROP_LENGTH);
	return tag_is(x->codec, frame, len) ? in_tagged(x, frame, len) : in_untagged(x, frame, len);
}

/* ---- control frames of this level ---- */

/* Builds it in control_frame[0]; its length, -EINVAL. */
static int build(struct extender *x, const u8 *to, u16 ethertype, const u8 *body, u32 len)
{
	u8 *frame = x->control_frame[0];
	u32 n = MAX(FRAME_HEADER_LEN + len, FRAME_MIN_LEN);
	if (!x->conf.external || len > EXTENDER_CONTROL_MAX)
		return -EINVAL;
	memset(frame, 0, FRAME_MIN_LEN);
	frame_header_put(frame, to, x->conf.mac, ethertype);
	memcpy(frame + FRAME_HEADER_LEN, body, len);
	return (int)n;
}

static int send(struct extender *x, const u8 *frame, u32 len)
{
	int r = pass(x, &x->control, x->ops->down, frame, len);
	x->control.control += !r;
	return r;
}

int extender_send_pe(struct extender *x, u16 ethertype, const u8 *body, u32 len)
{
	int n = build(x, FRAME_NEAREST_NON_TPMR_BRIDGE, ethertype, body, len);
	return n < 0 ? n : send(x, x->control_frame[0], (u32)n);
}

int extender_send_vdp(struct extender *x, u16 ethertype, const u8 *body, u32 len)
{
	u8 *tagged = x->control_frame[1];
	int n = build(x, FRAME_NEAREST_CUSTOMER_BRIDGE, ethertype, body, len);
	if (n < 0)
		return n;
	if (!x->data && !x->conf.s_channel) {
		x->control.dropped[EXTENDER_DROP_NO_ECID]++;
		return -EAGAIN;
	}
	if (!x->data || is_edge(x))
		return send(x, x->control_frame[0], (u32)n);
	n = x->codec->insert(tagged, sizeof(x->control_frame[1]), x->control_frame[0], (u32)n, &(struct etag){ .ecid = x->data });
	return n < 0 ? n : send(x, tagged, (u32)n);
}

/* ---- the rest ---- */

void extender_init(struct extender *x, const struct extender_conf *conf, const struct extender_ops *ops, void *arg)
{
	memset(x, 0, sizeof(*x));
	x->ops = ops;
	x->arg = arg;
	x->codec = &etag_codec;
	x->conf = *conf;
}

void extender_set_user(struct extender *x, bool cascade, enum extender_vdp vdp)
{
	WRITE_ONCE(x->conf.cascade, cascade);
	WRITE_ONCE(x->conf.vdp, vdp);
}

enum extender_vdp extender_vdp_role(enum extender_vdp_option option, bool claimed, bool cascade)
{
	if (claimed || option == EXTENDER_VDP_OFF)
		return EXTENDER_VDP_NONE;
	return option == EXTENDER_VDP_HERE || !cascade ? EXTENDER_VDP_SPEAK : EXTENDER_VDP_PASS;
}

const char *extender_drop_name(enum extender_drop d)
{
	static const char *const name[EXTENDER_DROPS] = { "length", "tag", "foreign", "nobody", "reserved", "no_ecid", "echo", "link" };
	return d < EXTENDER_DROPS ? name[d] : "?";
}
