/*
 * A port's mode transaction and the state calls, over a lower link that fails on demand: which step is taken when, what an error leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/fault.h"
#include "nic/port.h"
#include "nic/state.h"
#include "nic/vnet.h"

/* ---- what stands around port_mode.c and port_state.c ---- */

static struct nic_port port;
static struct nic_lower lower;
static struct nic_config cfg;
static struct nest_nic_info info;
static bool dev_running;
static u32 dev_changed, dev_ends;
static int dev_fence;
static const char *fault;       /* the point that fails next */
static bool port_held;

/* What the lower link was asked, and the mode it is in. */
static struct { u32 prepares, commits, aborts, quiesces, resumes, saves, restores; int fail; enum nic_mode last; } link_;
static struct nest_nic_stats counted;
static int stats_error;
static u8 body;

bool fault_hit(struct fault_point *p)
{
	bool hit = fault && !strcmp(p->name, fault);
	if (hit)
		fault = NULL;
	return hit;
}

u64 tsc_khz(void) { return 1000000; }
bool vnet_running(const struct vnet *d) { (void)d; return dev_running; }
int vnet_fence(struct vnet *d) { (void)d; return dev_fence; }
void vnet_changed(struct vnet *d) { (void)d; dev_changed++; }
int vnet_rx(struct vnet *d, const u8 *frame, u32 len) { (void)d, (void)frame; return len == 1 ? -EAGAIN : 0; }
void vnet_rx_dropped(struct vnet *d) { (void)d; }
void vnet_rx_flush(struct vnet *d) { (void)d; }
void vnet_rx_end(struct vnet *d) { (void)d; dev_ends++; }
bool port_try_enter(struct nic_port *p)
{
	bool got = !port_held;
	assert_ptr_equal(p, &port);
	port_held = true;
	return got;
}
void port_leave(struct nic_port *p)
{
	assert_ptr_equal(p, &port);
	if (p->news)
		port_adopt(p);
	port_held = p->news = false;
}
int port_info(struct nic_port *p, struct nest_nic_info *out) { (void)p; *out = info; return 0; }
int port_stats(struct nic_port *p, struct nest_nic_stats *out)
{
	*out = counted;
	for (u32 i = 0; i < sizeof(*out) / sizeof(u64); i++)
		((u64 *)out)[i] += ((u64 *)&p->base)[i];
	return stats_error;
}

static int f_info(struct nic_lower *l, struct nest_nic_info *out) { (void)l; *out = info; return 0; }
static int f_prepare(struct nic_lower *l, enum nic_mode m) { (void)l; link_.prepares++; link_.last = m; return link_.fail; }
static void f_abort(struct nic_lower *l, enum nic_mode m) { (void)l; link_.aborts++; assert_int_equal(m, link_.last); }
static void f_commit(struct nic_lower *l, enum nic_mode m, u32 *head)
{
	(void)l;
	link_.commits++;
	assert_int_equal(m, link_.last);
	*head = 41;
}
static int f_quiesce(struct nic_lower *l) { (void)l; link_.quiesces++; return link_.fail; }
static int f_resume(struct nic_lower *l) { (void)l; link_.resumes++; return link_.fail; }
static int f_save(struct nic_lower *l, struct nest_nic_state *out)
{
	(void)l;
	link_.saves++;
	out->family = info.family;
	memcpy(out->mac, info.mac, 6);
	out->vlan = info.vlan;
	out->body[0] = body;
	return link_.fail;
}
static int f_restore(struct nic_lower *l, const struct nest_nic_state *in)
{
	(void)l;
	link_.restores++;
	if (!link_.fail)
		body = in->body[0];
	return link_.fail;
}

static const struct nic_ops ops = {
	.name = "fake", .info = f_info, .prepare = f_prepare, .commit = f_commit, .abort = f_abort,
	.quiesce = f_quiesce, .resume = f_resume, .save = f_save, .restore = f_restore,
};

static int start(void **state)
{
	static u8 somebody;
	(void)state;
	memset(&port, 0, sizeof(port));
	memset(&link_, 0, sizeof(link_));
	memset(&counted, 0, sizeof(counted));
	cfg = (struct nic_config){ .may_pass = true };
	info = (struct nest_nic_info){ .mac = { 2, 0, 0, 0, 0, 9 }, .vlan = 7, .family = 1, .flags = NEST_NIC_MAY_PASS };
	lower = (struct nic_lower){ .ops = &ops };
	port.vm = (struct vm *)&somebody;
	port.dev = (struct vnet *)&somebody;
	port.cfg = &cfg;
	port.lower = &lower;
	port.open = true;
	dev_running = true;
	dev_changed = dev_ends = 0;
	dev_fence = stats_error = 0;
	fault = NULL;
	port_held = false;
	return 0;
}

/* ---- the transaction ---- */

static void there_and_back(void **state)
{
	(void)state;
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), 0);
	assert_true(port.prepared);
	assert_int_equal(port.mode, NIC_EMULATION);
	assert_int_equal(port_commit(&port, NIC_PASSTHROUGH), 41);
	assert_int_equal(port.mode, NIC_PASSTHROUGH);
	assert_int_equal(port.want, NIC_PASSTHROUGH);
	assert_false(port.prepared);
	assert_int_equal(port_prepare(&port, NIC_EMULATION), 0);
	assert_int_equal(port_commit(&port, NIC_EMULATION), 41);
	assert_int_equal(port.mode, NIC_EMULATION);
	assert_int_equal(port.switches, 2);
	assert_int_equal(link_.prepares, 2);
	assert_int_equal(link_.commits, 2);
	assert_int_equal(link_.aborts, 0);
}

static void calls_out_of_turn_reach_nobody(void **state)
{
	(void)state;
	assert_int_equal(port_prepare(&port, NIC_EMULATION), -EALREADY);
	assert_int_equal(port_commit(&port, NIC_PASSTHROUGH), -EINVAL);
	assert_int_equal(port_commit(&port, NIC_EMULATION), -EINVAL);
	assert_int_equal(port_abort(&port, NIC_PASSTHROUGH), -EINVAL);
	assert_int_equal(link_.prepares + link_.commits + link_.aborts, 0);
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), 0);
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), -EBUSY);
	assert_int_equal(port_commit(&port, NIC_EMULATION), -EINVAL); /* the other direction */
	assert_int_equal(port_abort(&port, NIC_EMULATION), -EINVAL);
	assert_int_equal(link_.prepares, 1);
	assert_int_equal(link_.commits + link_.aborts, 0);
	assert_int_equal(port_abort(&port, NIC_PASSTHROUGH), 0);
	assert_int_equal(port_abort(&port, NIC_PASSTHROUGH), -EINVAL);
	assert_int_equal(port_commit(&port, NIC_PASSTHROUGH), -EINVAL);
	assert_int_equal(link_.aborts, 1);
	assert_int_equal(port.switches, 0);
}

static void prepare_refuses_what_cannot_work(void **state)
{
	(void)state;
	port.open = false;
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), -ENOENT);
	port.open = true;
	cfg.may_pass = false;
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), -EPERM);
	cfg.may_pass = true;
	port.quiesced = true;
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), -EBUSY);
	port.quiesced = false;
	port.mode = NIC_PASSTHROUGH;
	dev_running = false;
	assert_int_equal(port_prepare(&port, NIC_EMULATION), -EIO);
	dev_running = true;
	port.dev = NULL;
	assert_int_equal(port_prepare(&port, NIC_EMULATION), -EIO);
	assert_int_equal(link_.prepares, 0);
}

static void a_failed_prepare_leaves_nothing(void **state)
{
	(void)state;
	link_.fail = -ENOMEM;
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), -ENOMEM);
	assert_false(port.prepared);
	assert_int_equal(link_.aborts, 0); /* it undid its own */
	link_.fail = 0;
	fault = "port: prepare, before the lower link";
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), -EIO);
	assert_int_equal(link_.prepares, 1);
	assert_false(port.prepared);
	fault = "port: prepare, after the lower link";
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), -EIO);
	assert_int_equal(link_.prepares, 2);
	assert_int_equal(link_.aborts, 1);
	assert_false(port.prepared);
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), 0);
}

static void the_fence_is_the_devices(void **state)
{
	(void)state;
	assert_int_equal(port_fence(&port), 0);
	dev_fence = -ETIMEDOUT;
	assert_int_equal(port_fence(&port), -ETIMEDOUT);
	dev_fence = 0;
	fault = "port: fence";
	assert_int_equal(port_fence(&port), -ETIMEDOUT);
	port.dev = NULL;
	assert_int_equal(port_fence(&port), 0);
}

static void a_wish_that_is_not_allowed(void **state)
{
	(void)state;
	cfg.may_pass = false;
	assert_int_equal(port_wish(&port, NIC_PASSTHROUGH), -EPERM);
	assert_int_equal(port_wish(&port, NIC_EMULATION), 0);
	cfg.may_pass = true;
	info.flags = 0; /* further out */
	assert_int_equal(port_wish(&port, NIC_PASSTHROUGH), -EPERM);
	assert_int_equal(port.want, NIC_EMULATION);
	assert_int_equal(port.wishes, 1);
}

/* Further out somebody wishes. */
static void wished(u32 mode)
{
	info.want = mode;
	info.wishes++;
}

static void the_outers_wish_that_is_not_allowed(void **state)
{
	static const struct vm_config vm_cfg = { .name = "g" };
	static struct vm vm = { .cfg = &vm_cfg };
	(void)state;
	port.vm = &vm;
	cfg.may_pass = false;
	wished(NEST_MODE_PASSTHROUGH);
	nic_port_changed(&port);
	assert_int_equal(port.want, NIC_EMULATION);
	assert_int_equal(port.wishes, 0);
	cfg.may_pass = true;
	nic_port_changed(&port); /* it is over */
	assert_int_equal(port.want, NIC_EMULATION);
}

static void wishes(void **state)
{
	(void)state;
	port_wish(&port, NIC_PASSTHROUGH);
	assert_int_equal(port.want, NIC_PASSTHROUGH);
	assert_int_equal(port.mode, NIC_EMULATION); /* a wish is not a switch */
	assert_int_equal(dev_changed, 1);
	nic_port_changed(&port); /* nobody wished anything further out: ours stays */
	assert_int_equal(port.want, NIC_PASSTHROUGH);
	assert_int_equal(dev_changed, 2);
	wished(NEST_MODE_PASSTHROUGH);
	port_wish(&port, NIC_EMULATION);
	nic_port_changed(&port);
	assert_int_equal(port.want, NIC_PASSTHROUGH);
	assert_int_equal(port.wishes, 3); /* and one more for who is further in */
	wished(NEST_MODE_EMULATION);
	port_held = true; /* somebody else has the port: later */
	nic_port_changed(&port);
	assert_int_equal(port.want, NIC_PASSTHROUGH);
	port_leave(&port);
	assert_int_equal(port.want, NIC_EMULATION);
	assert_false(port_held);
}

/* A switch makes the state the wish, at every level. That is no wish of anybody: what an administrator of ours wishes afterwards stays. */
static void a_switch_is_no_wish(void **state)
{
	(void)state;
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), 0);
	assert_int_equal(port_commit(&port, NIC_PASSTHROUGH), 41);
	info.want = NEST_MODE_PASSTHROUGH;
	port_wish(&port, NIC_EMULATION);
	nic_port_changed(&port); /* the link, say */
	assert_int_equal(port.want, NIC_EMULATION);
}

/* … nor does it undo one that came after it had begun. */
static void a_wish_within_a_switch_stays(void **state)
{
	(void)state;
	port_wish(&port, NIC_PASSTHROUGH);
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), 0);
	port_wish(&port, NIC_EMULATION);
	assert_int_equal(port_commit(&port, NIC_PASSTHROUGH), 41);
	assert_int_equal(port.mode, NIC_PASSTHROUGH);
	assert_int_equal(port.want, NIC_EMULATION);
}

/* Two administrators, here and further out, one after the other: the last one's wish counts, also if it is his former one again. */
static void the_last_wish_counts(void **state)
{
	(void)state;
	wished(NEST_MODE_PASSTHROUGH);
	nic_port_changed(&port);
	assert_int_equal(port.want, NIC_PASSTHROUGH);
	port_wish(&port, NIC_EMULATION);
	wished(NEST_MODE_PASSTHROUGH);
	nic_port_changed(&port);
	assert_int_equal(port.want, NIC_PASSTHROUGH);
	port_wish(&port, NIC_EMULATION);
	nic_port_changed(&port);
	assert_int_equal(port.want, NIC_EMULATION);
}

static void frames_go_to_the_device(void **state)
{
	static const u8 frame[64];
	(void)state;
	assert_int_equal(nic_port_rx(&port, frame, 64), 0);
	assert_int_equal(nic_port_rx(&port, frame, 1), -EAGAIN);
	nic_port_rx_dropped(&port);
	nic_port_rx_flush(&port);
	nic_port_rx_end(&port);
	assert_int_equal(dev_ends, 1);
	port.dev = NULL;
	assert_int_equal(nic_port_rx(&port, frame, 1), 0);
	nic_port_rx_dropped(&port);
	nic_port_rx_flush(&port);
	nic_port_rx_end(&port);
	assert_int_equal(dev_ends, 1);
}

/* ---- state ---- */

static void quiesce_and_resume(void **state)
{
	(void)state;
	assert_int_equal(port_resume(&port), -EINVAL);
	link_.fail = -ETIMEDOUT;
	assert_int_equal(port_quiesce(&port), -ETIMEDOUT);
	assert_false(port.quiesced);
	link_.fail = 0;
	assert_int_equal(port_quiesce(&port), 0);
	assert_int_equal(port_quiesce(&port), 0); /* again: nothing to do */
	assert_int_equal(link_.quiesces, 2);
	link_.fail = -EIO;
	assert_int_equal(port_resume(&port), -EIO);
	assert_true(port.quiesced);
	link_.fail = 0;
	assert_int_equal(port_resume(&port), 0);
	assert_int_equal(port_resume(&port), -EINVAL);
}

static void no_quiesce_within_a_transaction(void **state)
{
	(void)state;
	assert_int_equal(port_prepare(&port, NIC_PASSTHROUGH), 0);
	assert_int_equal(port_quiesce(&port), -EBUSY);
	assert_int_equal(link_.quiesces, 0);
	assert_int_equal(port_abort(&port, NIC_PASSTHROUGH), 0);
	assert_int_equal(port_quiesce(&port), 0);
}

static void only_a_quiesced_function_is_saved_or_restored(void **state)
{
	struct nest_nic_state s;
	(void)state;
	assert_int_equal(port_save(&port, &s), -EBUSY);
	memset(&s, 0, sizeof(s));
	assert_int_equal(port_restore(&port, &s), -EBUSY);
	assert_int_equal(link_.saves + link_.restores, 0);
}

static void save_restore_save(void **state)
{
	struct nest_nic_state one, two;
	(void)state;
	counted = (struct nest_nic_stats){ .rx_packets = 100, .tx_packets = 50, .irqs = 3 };
	body = 0xa5;
	assert_int_equal(port_quiesce(&port), 0);
	assert_int_equal(port_save(&port, &one), 0);
	assert_int_equal(nic_state_check(&one), 0);
	assert_int_equal(one.totals.rx_packets, 100);
	counted = (struct nest_nic_stats){ .rx_packets = 7, .tx_packets = 60, .faults = 2 }; /* another function, other counts */
	body = 0;
	assert_int_equal(port_restore(&port, &one), 0);
	assert_int_equal(body, 0xa5);
	assert_int_equal(port_save(&port, &two), 0);
	assert_memory_equal(&one, &two, sizeof(one));
	counted.rx_packets += 5; /* … and it goes on counting from there */
	assert_int_equal(port_stats(&port, &two.totals), 0);
	assert_int_equal(two.totals.rx_packets, 105);
	assert_int_equal(two.totals.tx_packets, 50);
}

static void errors_of_save_are_passed_on(void **state)
{
	struct nest_nic_state s;
	(void)state;
	assert_int_equal(port_quiesce(&port), 0);
	link_.fail = -EIO;
	assert_int_equal(port_save(&port, &s), -EIO);
	link_.fail = 0;
	stats_error = -EAGAIN;
	assert_int_equal(port_save(&port, &s), -EAGAIN);
}

static void restore_refuses_foreign_and_damaged_records(void **state)
{
	struct nest_nic_state good, s;
	(void)state;
	assert_int_equal(port_quiesce(&port), 0);
	assert_int_equal(port_save(&port, &good), 0);
	s = good;
	s.body[17] ^= 1;
	assert_int_equal(port_restore(&port, &s), -EINVAL);
	s = good;
	s.family = 2;
	nic_state_seal(&s);
	assert_int_equal(port_restore(&port, &s), -EINVAL);
	s = good;
	s.mac[5]++;
	nic_state_seal(&s);
	assert_int_equal(port_restore(&port, &s), -EPERM);
	s = good;
	s.vlan = 8;
	nic_state_seal(&s);
	assert_int_equal(port_restore(&port, &s), -EPERM);
	assert_int_equal(link_.restores, 0);
	link_.fail = -EINVAL; /* the family refuses: the totals stay ours */
	s = good;
	s.totals.rx_packets = 1000;
	nic_state_seal(&s);
	assert_int_equal(port_restore(&port, &s), -EINVAL);
	assert_int_equal(port_stats(&port, &s.totals), 0);
	assert_int_equal(s.totals.rx_packets, 0);
}

#define T(f) cmocka_unit_test_setup(f, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(there_and_back),
		T(calls_out_of_turn_reach_nobody),
		T(prepare_refuses_what_cannot_work),
		T(a_failed_prepare_leaves_nothing),
		T(the_fence_is_the_devices),
		T(wishes), T(a_wish_that_is_not_allowed), T(the_outers_wish_that_is_not_allowed),
		T(a_switch_is_no_wish),
		T(a_wish_within_a_switch_stays),
		T(the_last_wish_counts),
		T(frames_go_to_the_device),
		T(quiesce_and_resume),
		T(no_quiesce_within_a_transaction),
		T(only_a_quiesced_function_is_saved_or_restored),
		T(save_restore_save),
		T(errors_of_save_are_passed_on),
		T(restore_refuses_foreign_and_damaged_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
