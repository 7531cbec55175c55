/*
 * The surroundings of a port's extender (ext_model.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/ext_model.h"

#include "core/apic.h"
#include "core/irq.h"

#define WIRE_MAX 256u
#define PEER ((const u8[6]){ 2, 0, 0, 0, 0, 9 })
#define IP 0x0800

struct ext_model m;
static const u8 mac[6] = { 2, 0, 0, 0, 0, 1 };
static struct { bool used, outward; u64 at_us; u32 len; u8 frame[10000]; } wire[WIRE_MAX];
static u32 wire_first, wire_nr;

/* ---- time and the boot CPU ---- */

u64 rdtsc(void) { return (m.now_us += m.skew_us) * 1000; }

void apic_send(u32 apic_id, u8 vector)
{
	ASSERT(apic_id == cpus[0].apic_id && vector == extender()->vector && !m.kicked);
	m.kicks++;
	m.kicked = true;
}

bool take_kick(void)
{
	bool had = m.kicked;
	m.kicked = false;
	if (had)
		ASSERT(fake_irq(0, extender()->vector));
	return had;
}

/* ---- the wire ---- */

static void lay(const u8 *frame, u32 len, bool outward)
{
	if (m.cut)
		return;
	ASSERT(wire_nr < WIRE_MAX && len <= sizeof(wire[0].frame));
	u32 i = (wire_first + wire_nr++) % WIRE_MAX;
	wire[i].outward = outward;
	wire[i].at_us = m.now_us + WIRE_US;
	wire[i].len = len;
	memcpy(wire[i].frame, frame, len);
}

static void from_bridge(const u8 *frame, u32 len) { lay(frame, len, false); }
int wire_in(const u8 *frame, u32 len) { return m.started ? nic_port_rx(nic_lower_get(0)->bound, frame, len) : 0; }

static void arrive(void)
{
	u32 i = wire_first;
	wire_first = (wire_first + 1) % WIRE_MAX;
	wire_nr--;
	if (wire[i].outward)
		bridge_receive(&m.bridge, wire[i].frame, wire[i].len, m.now_us);
	else
		ASSERT(!wire_in(wire[i].frame, wire[i].len));
}

void run(u64 us)
{
	u64 end = m.now_us + us;
	for (u32 n = 0;; n++) {
		ASSERT(n < 1000 + us / 1000);
		while (take_kick())
			continue;
		bridge_tick(&m.bridge, m.now_us);
		u64 next = MIN(bridge_deadline(&m.bridge), fake_deadline() / 1000);
		if (wire_nr)
			next = MIN(next, wire[wire_first].at_us);
		if (next > end)
			break;
		m.now_us = MAX(m.now_us, next);
		if (wire_nr && wire[wire_first].at_us <= m.now_us)
			arrive();
		else if (fake_deadline() / 1000 <= m.now_us)
			(void)fake_timer();
	}
	m.now_us = MAX(m.now_us, end);
}

static bool is_control(const u8 *f) { return !memcmp(f, FRAME_NEAREST_CUSTOMER_BRIDGE, 5); }

u32 sent_control(u32 from)
{
	u32 n = 0;
	for (u32 i = from; i < m.nr_sent; i++)
		n += is_control(m.sent[i % SENT_MAX].frame);
	return n;
}

u32 sent_type(u32 from, u16 type)
{
	u32 n = 0;
	for (u32 i = from; i < m.nr_sent; i++) {
		const u8 *f = m.sent[i % SENT_MAX].frame;
		n += frame_type(f + (frame_type(f) == FRAME_TYPE_ETAG ? ETAG_LEN : 0)) == type;
	}
	return n;
}

/* ---- the lower link ---- */

static int once(int *err)
{
	int r = *err;
	*err = 0;
	return r;
}

static int l_info(struct nic_lower *l, struct nest_nic_info *out)
{
	(void)l;
	*out = (struct nest_nic_info){ .flags = m.flags, .vlan = m.vlan, .max_frame = 1514, .family = 1 };
	memcpy(out->mac, mac, 6);
	return m.no_info ? -EIO : once(&m.fail_info);
}
static int l_start(struct nic_lower *l)
{
	ASSERT(!m.started && l->bound);
	int r = once(&m.fail_start);
	m.starts++;
	m.started = !r;
	return r;
}
static void l_stop(struct nic_lower *l)
{
	ASSERT(m.started && l->bound);
	m.stops++;
	m.started = false;
}
static int l_tx(struct nic_lower *l, const u8 *frame, u32 len)
{
	(void)l;
	ASSERT(m.started && len <= sizeof(m.sent[0].frame));
	m.sent[m.nr_sent % SENT_MAX].len = len;
	memcpy(m.sent[m.nr_sent++ % SENT_MAX].frame, frame, len);
	lay(frame, len, true);
	return 0;
}
static void l_flush(struct nic_lower *l) { (void)l; }
static int l_fence(struct nic_lower *l) { (void)l; return 0; }
static void l_more(struct nic_lower *l) { (void)l; }
static void l_filter(struct nic_lower *l, const struct nic_rx_filter *f)
{
	(void)l;
	ASSERT(m.started);
	m.filter = *f;
}
static int l_alloc(struct nic_lower *l, struct vm *vm, const struct nic_config *c, u32 flags)
{
	(void)l, (void)vm, (void)c, (void)flags;
	m.stopped = false;
	return 0;
}
static int l_free(struct nic_lower *l) { (void)l; return 0; }
static int l_stats(struct nic_lower *l, struct nest_nic_stats *out)
{
	(void)l;
	*out = (struct nest_nic_stats){ 0 };
	return 0;
}
static int l_quiesce(struct nic_lower *l)
{
	int r = once(&m.fail_quiesce);
	(void)l;
	ASSERT(!m.stopped);
	m.quiesces++;
	m.stopped = !r;
	return r;
}
static int l_resume(struct nic_lower *l)
{
	int r = once(&m.fail_resume);
	(void)l;
	ASSERT(m.stopped);
	m.resumes++;
	m.stopped = r;
	return r;
}
static int l_prepare(struct nic_lower *l, enum nic_mode mode)
{
	(void)l, (void)mode;
	ASSERT(!m.stopped);
	return 0;
}
static void l_commit(struct nic_lower *l, enum nic_mode mode, u32 *head)
{
	(void)l, (void)mode;
	*head = 0;
}
static void l_abort(struct nic_lower *l, enum nic_mode mode)
{
	(void)l, (void)mode;
	m.aborts++;
}
static int l_extender(struct nic_lower *l)
{
	(void)l;
	m.extenders++;
	return 0;
}
static const struct nic_data_ops data = { l_start, l_stop, l_tx, l_flush, l_fence, l_more, l_filter };
static const struct nic_ops ops = {
	.name = "model", .info = l_info, .alloc = l_alloc, .free = l_free, .stats = l_stats, .quiesce = l_quiesce, .resume = l_resume,
	.prepare = l_prepare, .commit = l_commit, .abort = l_abort, .extender = l_extender, .data = &data,
};

/* ---- what nic/ wants besides ---- */

static const struct hc_entry *bound[HC_MAX];
void hypercall_bind(u32 nr, const struct hc_entry *e) { bound[nr] = e; }
bool outer_present(void) { return false; }
u32 outer_depth(void) { return 0; }
int upstream_init(void) { return 0; }
static const u32 no_ids[] = { 0 };
const struct nic_driver igb_driver = { .name = "none", .ids = no_ids };

s64 hc(u32 nr, u64 a0, u64 a1)
{
	static u8 record[PAGE_SIZE];
	struct hc_call c = { .v = &fake_vcpus[0], .arg = { a0, a1 }, .rec = record };
	fake_vcpus[0].vm = m.vm[m.who];
	return bound[nr]->fn(&c);
}

/* ---- the device ---- */

struct vnet { struct nic_port *p; };
static struct vnet device;

int vnet_create(struct vnet **out, struct nic_port *p)
{
	device.p = p;
	*out = &device;
	return 0;
}

static const struct nic_data_ops *below(void) { return device.p->lower->data; }

int device_start(void)
{
	int r = below()->start(device.p->lower);
	m.device_started = !r;
	return r;
}

void device_stop(void)
{
	m.device_started = false;
	below()->stop(device.p->lower);
}

int device_tx(const u8 *frame, u32 len) { return below()->tx(device.p->lower, frame, len); }

void vnet_destroy(struct vnet *d)
{
	ASSERT(d == &device);
	if (m.device_started)
		device_stop();
}

rid_t vnet_rid(const struct vnet *d) { (void)d; return RID(0, 1, 0); }
int vnet_rx(struct vnet *d, const u8 *frame, u32 len)
{
	(void)frame;
	ASSERT(d == &device);
	m.nr_got++;
	m.got_len = len;
	return 0;
}
void vnet_rx_dropped(struct vnet *d) { (void)d; }
void vnet_rx_flush(struct vnet *d) { (void)d; }
void vnet_rx_end(struct vnet *d) { (void)d; }
void vnet_changed(struct vnet *d) { (void)d; m.changes++; }
int vnet_fence(struct vnet *d) { (void)d; return 0; }
bool vnet_running(const struct vnet *d) { (void)d; return m.device_started; }
void vnet_stats(struct vnet *d, struct nest_nic_stats *out) { (void)d, (void)out; }

/* ---- life ---- */

struct vm_config ext_cfg[2];

struct nic_port *port(void) { return m.vm[m.who]->ports[0]; }
struct port_ext *extender(void) { return nic_lower_get(0)->ext; }

void model_unbind(void)
{
	nic_ports_fini(m.vm[m.who]);
	ASSERT(!nic_lower_get(0)->bound && !m.started);
}

void model_bind(u32 who)
{
	m.who = who;
	ASSERT(!nic_ports_init(m.vm[who]));
}

void model_begin(bool external, bool s_tag)
{
	static bool made;
	fakes_reset();
	memset(&m, 0, sizeof(m));
	wire_nr = 0;
	m.now_us = 7 * SECOND;
	m.flags = NEST_NIC_LINK_UP | NEST_NIC_MAY_PASS | (external ? NEST_NIC_EXTERNAL : 0) | (external && s_tag ? NEST_NIC_S_CHANNEL : 0);
	if (!made) {
		ASSERT(!nic_lower_add(&ops, NULL));
		nic_hypercalls_init();
	}
	made = true;
	nic_lower_get(0)->wire = true;
	nic_lower_get(0)->bound = NULL; /* a test that failed leaves it bound */
	nic_lower_get(0)->ext = NULL;
	bridge_init(&m.bridge, s_tag, from_bridge);
	m.bridge.now_us = m.now_us;
	for (u32 i = 0; i < 2; i++) {
		ext_cfg[i].name[0] = (char)('a' + i);
		ext_cfg[i].nr_nics = 1;
		m.vm[i] = fake_vm(ext_cfg[i].name, 8, &ext_cfg[i]);
	}
	model_bind(0);
}

/* The extender stays with its lower port, but each test is to begin without. */
void model_end(void)
{
	struct port_ext *e = extender();
	model_unbind();
	for (u32 i = 0; i < 2; i++)
		fake_vm_free(m.vm[i]);
	ASSERT(fake_balance.vectors == (e ? 1 : 0) && fake_balance.pages == (e ? 16 : 0));
	while (take_kick())
		continue;
	ASSERT(!e || fake_deadline() == ~0ull);
	nic_lower_get(0)->ext = NULL;
	if (e)
		pages_free(&mem_self, e, 4);
}

/* ---- what the tests share ---- */

static const struct nic_config plain = { .port = 0, .mode = NIC_EMULATION, .may_pass = true };

static int begin_as(bool external, bool s_tag, const struct nic_config *c)
{
	ext_cfg[0].nics[0] = ext_cfg[1].nics[0] = *c;
	model_begin(external, s_tag);
	return 0;
}

int embedded(void **state) { (void)state; return begin_as(false, true, &plain); }
int s_channel(void **state) { (void)state; return begin_as(true, true, &plain); }
int e_tag(void **state) { (void)state; return begin_as(true, false, &plain); }
int vlan7(void **state)
{
	struct nic_config c = plain;
	(void)state;
	c.vlan = 7;
	return begin_as(true, true, &c);
}
int end(void **state) { (void)state; model_end(); return 0; }

static u32 frame_of(u8 *f, u32 len)
{
	memset(f, 0x5a, len);
	frame_header_put(f, PEER, mac, IP);
	return len;
}

bool sends(void)
{
	u8 f[100];
	return !device_tx(f, frame_of(f, sizeof(f)));
}

bool gets(void)
{
	u8 f[100];
	u32 before = m.nr_got;
	frame_of(f, sizeof(f));
	frame_header_put(f, mac, PEER, IP);
	assert_int_equal(wire_in(f, sizeof(f)), 0);
	return m.nr_got > before;
}

u32 flags(void)
{
	struct nest_nic_info info;
	assert_int_equal(port_info(port(), &info), 0);
	return info.flags;
}

u16 vlan(void)
{
	struct nest_nic_info info;
	assert_int_equal(port_info(port(), &info), 0);
	return info.vlan;
}

void must_be_associated(u32 from)
{
	run(5 * SECOND);
	assert_true(extender()->x.own);
	assert_true(m.bridge.vdp.associated);
	assert_true(sent_control(from) > 5);
}
