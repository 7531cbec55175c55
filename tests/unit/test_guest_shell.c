/*
 * guest/net/shell*.c: a port with a chain of levels below it, played by the test. The network sends numbered frames at every call that the
 * shell makes; each must reach the stack once and in order, over any number of switches, and whatever call or step fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "guest/net/plugin_load.h"
#include "guest/net/port.h"
#include "guest/net/shell.h"
#include "guest/net/virtio_plugin.h"

#define RING 256u
#define HANDLE 0x101u
enum { HELD_VF = 1, HELD_REGS = 2, HELD_DMA = 4, HELD_VF_RUNS = 8, HELD_IRQ = 16, HELD_PREPARED = 32, HELD_EMU = 64, HELD_PCI = 128 };
#define HELD_IN_EMULATION (HELD_EMU | HELD_PCI)

struct frame { u32 seq; bool group, own, end; };
struct queue { struct frame f[4096]; u32 head, tail; };

static struct nic nic;
static struct nest_nic_info info;
static struct queue pf, emu, vf;              /* frames at the PF; in the devices' receive rings */
static u32 held, mode, calls, fail_at;        /* the fail_at-th call fails, from 1 */
static char failed[32];
static u32 seq, expected, wrong, own_sent, noise;
static u32 emu_pending, vf_pending, reordered, sent, refused;
static struct nic_plugin_stats emu_count, vf_count;
static const struct nic_plugin_env *emu_env, *vf_env;
static bool lose_end, wish_at_start;
static u64 now;
static u8 pages[64][PAGE_SIZE] __aligned_to(PAGE_SIZE);

/* ---- the network ---- */

static void push(struct queue *q, struct frame f)
{
	assert_true(q->tail - q->head < ARRAY_SIZE(q->f));
	q->f[q->tail++ % ARRAY_SIZE(q->f)] = f;
}

static void arrive(bool group, bool own)
{
	struct frame f = { own ? 0 : seq++, group, own, false };
	bool to_pf = mode == NEST_MODE_EMULATION;
	/* Groups reach the function from the prepare on, and until it is free. */
	bool to_vf = mode == NEST_MODE_PASSTHROUGH || (group && held & HELD_VF_RUNS && (held & HELD_PREPARED || vf.tail));

	if (to_pf)
		push(&pf, f);
	if (to_vf && vf.tail - vf.head < RING - 1) /* a full ring loses what comes */
		push(&vf, f);
}

static void flow(void)
{
	while (pf.head != pf.tail)
		push(&emu, pf.f[pf.head++ % ARRAY_SIZE(pf.f)]);
}

/* Every call costs time, in which frames arrive. True if it shall fail. */
static bool call(const char *name)
{
	for (u32 i = 0; noise && i < 3; i++) {
		arrive(rand() & 1, false);
		if (!(rand() % 7)) {
			arrive(true, true);
			own_sent++;
		}
	}
	if (rand() & 1)
		flow();
	if (++calls != fail_at)
		return false;
	strncpy(failed, name, sizeof(failed) - 1);
	return true;
}

static void stack_rx(void *arg, const u8 *frame, u32 len)
{
	u32 got;
	u8 answer[60] = { 0 };

	assert_ptr_equal(arg, &nic);
	assert_int_equal(len, 60);
	memcpy(&got, frame + 14, 4);
	wrong += got != expected;
	expected = got + 1;
	refused += nic_tx(&nic, answer, sizeof(answer)) != 0;
	sent++;
}

static u32 hand_up(struct queue *q, const struct nic_plugin_env *env, struct nic_plugin_stats *count, u32 budget)
{
	u32 n = 0;

	for (; n < budget && q->head != q->tail; n++) {
		struct frame f = q->f[q->head++ % ARRAY_SIZE(q->f)];
		u8 b[60] = { f.group ? 0xff : 0x52, 1, 2, 3, 4, 5, 0x10 };
		if (f.end) {
			env->rx(env->rx_arg, (const u8 *)NEST_NIC_END_MAGIC, sizeof(struct nest_nic_end));
			continue;
		}
		if (f.own)
			memcpy(b + 6, info.mac, 6);
		memcpy(b + 14, &f.seq, 4);
		count->rx_frames++;
		env->rx(env->rx_arg, b, sizeof(b));
	}
	return n;
}

/* ---- the devices ---- */

static int emu_start(void *s, const struct nic_plugin_env *e)
{
	(void)s;
	if (call("emu start"))
		return -EIO;
	if (wish_at_start)
		info.want = NEST_MODE_PASSTHROUGH;
	emu_env = e;
	held |= HELD_EMU;
	return 0;
}
static int emu_stop(void *s) { (void)s; held &= ~(u32)HELD_EMU; return 0; }
static int emu_tx(void *s, const u8 *f, u32 len)
{
	(void)s, (void)f, (void)len;
	reordered += vf_pending != 0;
	emu_pending++;
	emu_count.tx_frames++;
	return 0;
}
static void no_kick(void *s) { (void)s; }
static u32 emu_tx_pending(void *s) { (void)s; return emu_pending; }
static u32 emu_rx(void *s, u32 budget) { (void)s; flow(); return hand_up(&emu, emu_env, &emu_count, budget); }
static int emu_before(const void *s, u32 head) { (void)s, (void)head; return -EINVAL; }
static void no_irq(void *s, bool on) { (void)s, (void)on; }
static void emu_stats(const void *s, struct nic_plugin_stats *out) { (void)s; *out = emu_count; }
const struct nic_plugin_ops virtio_plugin = {
	NIC_PLUGIN_ABI, sizeof(struct nic_plugin_ops), "virtio", 16, 4096, emu_start, emu_stop, emu_tx, no_kick, emu_tx_pending, emu_rx,
	emu_before, no_irq, emu_stats
};

static int vf_start(void *s, const struct nic_plugin_env *e)
{
	(void)s;
	if (call("vf start"))
		return -EIO;
	vf_env = e;
	held |= HELD_VF_RUNS;
	vf = (struct queue){ .head = 0 };
	vf_count = (struct nic_plugin_stats){ 0 };
	return 0;
}
static int vf_stop(void *s) { (void)s; held &= ~(u32)HELD_VF_RUNS; return 0; }
static int vf_tx(void *s, const u8 *f, u32 len)
{
	(void)s, (void)f, (void)len;
	reordered += emu_pending != 0;
	vf_pending++;
	vf_count.tx_frames++;
	return 0;
}
static u32 vf_tx_pending(void *s) { (void)s; vf_pending -= vf_pending > 0; return vf_pending; }
static u32 vf_rx(void *s, u32 budget) { (void)s; return hand_up(&vf, vf_env, &vf_count, budget); }
static int vf_before(const void *s, u32 head) { (void)s; return (int)((head - vf.head) % RING); }
static void vf_stats(const void *s, struct nic_plugin_stats *out) { (void)s; *out = vf_count; }

int plugin_load(u32 port, u32 family, u8 *memory, struct nic_plugin_ops *out)
{
	(void)port, (void)memory;
	assert_int_equal(family, 1);
	if (call("plugin"))
		return -EINVAL;
	*out = (struct nic_plugin_ops){ NIC_PLUGIN_ABI, sizeof(*out), "fake", 16, 8192, vf_start, vf_stop, vf_tx, no_kick, vf_tx_pending,
					vf_rx, vf_before, no_irq, vf_stats };
	return 0;
}

/* ---- the calls ---- */

static int take(u32 what, u32 needs, const char *name)
{
	assert_int_equal(held & needs, needs);
	assert_false(held & what);
	if (call(name))
		return -ENOMEM;
	held |= what;
	return 0;
}

static int give(u32 what)
{
	call("give"); /* giving back does not fail */
	assert_true(held & what);
	held &= ~what;
	return 0;
}

int port_info(u32 port, struct nest_nic_info *out) { (void)port; *out = info; return call("info") ? -ENOENT : 0; }
s64 port_alloc(u32 port, u32 flags)
{
	(void)port;
	int r = take(HELD_VF, 0, "alloc");
	if (!r && !(flags & NEST_ALLOC_PARKED))
		mode = NEST_MODE_PASSTHROUGH;
	return r ? r : (s64)HANDLE;
}
int port_configure(u64 h, const struct nest_nic_conf *c)
{
	assert_int_equal(h, HANDLE);
	assert_int_equal(!!(c->what & NEST_CONF_GROUPS), !!nic.nr_groups);
	assert_int_equal(c->nr_groups, nic.nr_groups);
	assert_memory_equal(c->group, nic.group, nic.nr_groups * 6);
	assert_int_equal(c->what & NEST_CONF_PROMISC && c->flags == NEST_CONF_FLAG_ALL_GROUPS, info.caps & NEST_CAP_PROMISC_GROUPS && !nic.nr_groups);
	return call("configure") ? -EPERM : 0;
}
int port_map_regs(u64 h, u64 gpa) { (void)h, (void)gpa; return take(HELD_REGS, HELD_VF, "regs"); }
int port_unmap_regs(u64 h) { (void)h; assert_false(held & HELD_VF_RUNS); return give(HELD_REGS); }
int port_dma_map(u64 h, const struct nest_nic_dma *l, u64 n) { (void)h, (void)l, (void)n; return take(HELD_DMA, HELD_VF, "dma"); }
int port_dma_unmap(u64 h, const struct nest_nic_dma *l, u64 n)
{
	(void)h, (void)l, (void)n;
	assert_false(held & HELD_VF_RUNS);
	return give(HELD_DMA);
}
int port_irq_set(u64 h, u64 i, const struct nest_nic_irq *irq) { (void)h, (void)i, (void)irq; return take(HELD_IRQ, HELD_VF_RUNS, "irq"); }
int port_irq_mask(u64 h, u64 i, u64 m) { (void)h, (void)i, (void)m; return 0; }
static int post_answer;
int port_irq_post(u64 h, u64 i, u64 how, u64 gpa) { (void)h, (void)i, (void)how, (void)gpa; return post_answer; }
int port_irq_clear(u64 h, u64 i) { (void)h, (void)i; return give(HELD_IRQ); }
int port_free(u64 h)
{
	assert_int_equal(h, HANDLE);
	assert_int_equal(held & ~(u32)(HELD_VF | HELD_IN_EMULATION), 0);
	mode = NEST_MODE_EMULATION;
	vf = (struct queue){ .head = 0 };
	return give(HELD_VF);
}
int port_prepare(u32 port, u32 m) { (void)port; assert_int_not_equal(m, mode); return take(HELD_PREPARED, HELD_VF_RUNS | HELD_EMU, "prepare"); }
int port_abort(u32 port, u32 m) { (void)port; assert_int_not_equal(m, mode); return give(HELD_PREPARED); }
int port_fence(u32 port)
{
	(void)port;
	if (call("fence"))
		return -ETIMEDOUT;
	emu_pending = 0;
	return 0;
}
s64 port_commit(u32 port, u32 m)
{
	(void)port;
	assert_true(held & HELD_PREPARED);
	if (m == NEST_MODE_PASSTHROUGH)
		assert_int_equal(emu_pending, 0);
	else
		assert_int_equal(vf_pending, 0);
	call("commit"); /* cannot fail */
	u32 head = vf.tail % RING;
	if (m == NEST_MODE_PASSTHROUGH) {
		flow();
		if (!lose_end)
			push(&emu, (struct frame){ .end = true });
	}
	mode = m;
	held &= ~(u32)HELD_PREPARED;
	for (u32 i = 0; noise && i < 5; i++)
		arrive(rand() & 1, false);
	return head;
}

/* ---- the rest of the guest ---- */

int pci_open(u16 rid, struct pci_device *d)
{
	assert_int_equal(rid, info.emu_rid);
	d->bar0 = pages[0];
	return take(HELD_PCI, 0, "pci") ? -ENODEV : 0;
}
void pci_close(struct pci_device *d) { (void)d; give(HELD_PCI); }
int pci_msix_set(struct pci_device *d, u32 i, u8 v, u32 a) { (void)d, (void)i, (void)v, (void)a; return call("msix") ? -EINVAL : 0; }
void irq_bind(u8 vector, irq_handler fn, void *arg) { (void)vector, (void)fn, (void)arg; }
u32 apic_id(void) { return 0; }
u64 clock_khz(void) { return 1000; }
u64 memory_device_window(void) { return 0x100000000ull; }
void *memory_pages(u64 n)
{
	static u32 used;
	void *p = pages[used];
	used += (u32)n;
	assert_true(used <= ARRAY_SIZE(pages)); /* never more than the first time */
	return p;
}
u64 rdtsc(void) { return now += 100; }
void irq_enable(void) { }
void irq_disable(void) { }
void irq_enable_halt_disable(void) { }

/* ---- tests ---- */

static int reset(void **state)
{
	(void)state;
	memset(&nic, 0, sizeof(nic));
	nic.rx = stack_rx;
	nic.rx_arg = &nic;
	info = (struct nest_nic_info){ .mac = { 0x52, 1, 2, 3, 4, 5 }, .max_frame = 1514, .family = 1, .emu_rid = 8 };
	pf = emu = vf = (struct queue){ .head = 0 };
	held = mode = calls = fail_at = seq = expected = wrong = own_sent = noise = 0;
	emu_pending = vf_pending = reordered = sent = refused = 0;
	emu_count = vf_count = (struct nic_plugin_stats){ 0 };
	failed[0] = 0;
	lose_end = false;
	srand(1);
	return 0;
}

/* All that was sent has arrived, once and in order; what the plugins counted is what the stack got and what was dropped for a reason. */
static void all_well(void)
{
	struct nic_plugin_stats s;

	for (u32 i = 0; i < 100; i++)
		nic_poll(&nic, 64);
	assert_int_equal(expected, seq);
	assert_int_equal(wrong | reordered | refused, 0);
	nic_plugin_counts(&nic, &s);
	assert_int_equal(s.rx_frames, seq + nic.count.own + nic.count.duplicate + nic.count.left);
	assert_int_equal(s.tx_frames, sent);
}

static void test_switches(void **state)
{
	(void)state;
	assert_int_equal(nic_open(&nic), 0);
	assert_int_equal(nic.mode, NEST_MODE_EMULATION);
	for (noise = 1; noise <= 1000; noise++) {
		u32 to = noise & 1 ? NEST_MODE_PASSTHROUGH : NEST_MODE_EMULATION;
		assert_int_equal(nic_switch(&nic, to), 0);
		assert_int_equal(nic.mode, to);
		assert_int_equal(nic_switch(&nic, to), 0);
		for (u32 i = rand() % 5; i; i--) {
			arrive(rand() & 1, false);
			nic_poll(&nic, 64);
			vf_pending = 0;
		}
		if (noise % 100 == 0)
			all_well();
	}
	assert_true(nic.count.duplicate > 0 && nic.count.own > 0 && nic.count.left > 0);
	assert_int_equal(nic.count.gap[NEST_MODE_PASSTHROUGH].switches, 500);
	assert_int_equal(nic.count.gap[NEST_MODE_EMULATION].switches, 500);
	assert_true(nic.count.gap[0].min <= nic.count.gap[0].max && nic.count.gap[0].sum >= nic.count.gap[0].max);
	noise = 0;
	all_well();
	assert_int_equal(nic_close(&nic), 0);
	assert_int_equal(held, 0);
}

/* Every call of the way there fails once: the port is where it was, everything is given back, no frame suffers, and the next try works. */
static void every_call_fails(enum nic_wait wait)
{
	u32 nr = 0;

	for (u32 at = 1;; at++) {
		reset(NULL);
		nic.wait = wait;
		assert_int_equal(nic_open(&nic), 0);
		noise = 1;
		nic_poll(&nic, 64);
		calls = 0;
		fail_at = at;
		int err = nic_switch(&nic, NEST_MODE_PASSTHROUGH);
		if (!failed[0]) {
			assert_int_equal(err | nic_close(&nic), 0);
			break;
		}
		if (err) {
			nr++;
			assert_int_equal(nic.mode, NEST_MODE_EMULATION);
			assert_int_equal(held, HELD_IN_EMULATION);
			assert_false(nic.frozen);
			assert_int_equal(nic.count.failed, 1);
		}
		noise = 0;
		nic.wait = NIC_POLL;
		all_well();
		nic.wait = wait;
		assert_int_equal(nic_switch(&nic, NEST_MODE_PASSTHROUGH), 0);
		vf_pending = 0;
		nic.wait = NIC_POLL;
		all_well();
		nic.wait = wait;
		assert_int_equal(nic_close(&nic), 0);
		assert_int_equal(held, 0);
	}
	assert_int_equal(nr, wait == NIC_POLL ? 8 : 9); /* alloc configure regs plugin dma start (irq) prepare fence */
	reset(NULL);
}

static void test_every_call_fails(void **state)
{
	(void)state;
	every_call_fails(NIC_POLL);
	every_call_fails(NIC_IRQ_SPIN);
}

static const char *stop_at;
static int step(void *arg, const char *name) { (void)arg; return !strcmp(name, stop_at); }

/* The same for steps that succeeded, so that every undo runs. */
static void test_every_step_fails(void **state)
{
	static const char *const names[] = { "allocate", "configure", "map registers", "plugin", "map memory", "start", "interrupt",
					     "virtual function", "prepare", "freeze", "fence" };

	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		reset(state);
		assert_int_equal(nic_open(&nic), 0);
		noise = 1;
		stop_at = names[i];
		nic.step = step;
		assert_int_equal(nic_switch(&nic, NEST_MODE_PASSTHROUGH), -EIO);
		assert_int_equal(held, HELD_IN_EMULATION);
		assert_int_equal(mode, NEST_MODE_EMULATION);
		noise = 0;
		all_well();
		stop_at = "commit"; /* too late to fail */
		assert_int_equal(nic_switch(&nic, NEST_MODE_PASSTHROUGH), 0);
		vf_pending = 0;
		all_well();
		for (u32 k = 0; k < 3; k++) { /* and on the way back: stays */
			static const char *const back[] = { "prepare", "freeze", "drain" };
			stop_at = back[k];
			noise = 1;
			assert_int_equal(nic_switch(&nic, NEST_MODE_EMULATION), -EIO);
			noise = 0;
			assert_int_equal(nic.mode, NEST_MODE_PASSTHROUGH);
			assert_false(held & HELD_PREPARED || nic.frozen);
			vf_pending = 0;
			all_well();
		}
		assert_int_equal(nic_close(&nic), 0);
		assert_int_equal(held, 0);
	}
}

/* Traffic goes on for long after the prepare: the function's ring must have room for what comes behind the switch all the same. */
static int dawdle(void *arg, const char *name)
{
	(void)arg;
	for (u32 i = 0; i < 1000 && !strcmp(name, "prepare"); i++) {
		arrive(i % 3, i % 50 == 7);
		own_sent += i % 50 == 7;
		nic_poll(&nic, 64);
		vf_pending = 0;
	}
	return 0;
}

static void test_long_prepare(void **state)
{
	(void)state;
	info.caps = NEST_CAP_PROMISC_GROUPS; /* as the emulated device, which nobody has told what groups to take */
	assert_int_equal(nic_open(&nic), 0);
	nic.step = dawdle;
	for (u32 i = 0; i < 6; i++) {
		noise = 1;
		assert_int_equal(nic_switch(&nic, nic.mode == NEST_MODE_EMULATION), 0);
		noise = 0;
		for (u32 k = 0; k < 100; k++)
			arrive(k & 1, false);
		vf_pending = 0;
		all_well();
	}
	assert_int_equal(nic_close(&nic), 0);
}

/* An administrator's wish that comes while the port opens. */
static void test_early_wish(void **state)
{
	(void)state;
	wish_at_start = true;
	assert_int_equal(nic_open(&nic), 0);
	assert_int_equal(nic.mode, NEST_MODE_EMULATION);
	nic_poll(&nic, 1);
	assert_int_equal(nic.mode, NEST_MODE_PASSTHROUGH);
	assert_int_equal(nic_close(&nic), 0);
	wish_at_start = false;
}

static void test_open_fails(void **state)
{
	for (u32 cold = 0; cold < 2; cold++)
		for (u32 at = 1;; at++) {
			reset(state);
			info.mode = cold;
			fail_at = at;
			int err = nic_open(&nic);
			if (!err) /* perhaps because the other state was possible */
				assert_int_equal(nic_close(&nic), 0);
			assert_int_equal(held, 0);
			if (!failed[0])
				break;
		}
}

static void test_cold(void **state)
{
	(void)state;
	info.mode = info.want = NEST_MODE_PASSTHROUGH;
	assert_int_equal(nic_open(&nic), 0);
	assert_int_equal(nic.mode, NEST_MODE_PASSTHROUGH);
	assert_true(held & HELD_EMU);
	noise = 1;
	assert_int_equal(nic_switch(&nic, NEST_MODE_EMULATION), 0);
	assert_int_equal(held, HELD_IN_EMULATION);
	noise = 0;
	all_well();
	assert_int_equal(nic_close(&nic), 0);

	reset(NULL);
	info.emu_rid = 0; /* a port without emulated device passes through, whatever the configuration says */
	assert_int_equal(nic_open(&nic), 0);
	assert_int_equal(nic.mode, NEST_MODE_PASSTHROUGH);
	assert_int_equal(nic_switch(&nic, NEST_MODE_EMULATION), -ENODEV);
	assert_int_equal(nic.mode, NEST_MODE_PASSTHROUGH);
	assert_int_equal(nic_close(&nic), 0);
	assert_int_equal(held, 0);
}

static void test_wish(void **state)
{
	(void)state;
	assert_int_equal(nic_open(&nic), 0);
	info.want = NEST_MODE_PASSTHROUGH;
	nic_poll(&nic, 1);
	assert_int_equal(nic.mode, NEST_MODE_EMULATION); /* nobody has said so */
	nic.events = 1;
	calls = 0;
	fail_at = 5;
	nic_poll(&nic, 1);
	assert_int_equal(nic.mode, NEST_MODE_EMULATION);
	u32 before = calls;
	nic_poll(&nic, 1);
	assert_int_equal(calls, before); /* not again before the next change */
	nic.events = 1;
	nic_poll(&nic, 1);
	assert_int_equal(nic.mode, NEST_MODE_PASSTHROUGH);
	assert_int_equal(nic_close(&nic), 0);
}

/* A chain that breaks its word: bounded, said, and the port works on in the new state. */
static void test_end_lost(void **state)
{
	(void)state;
	assert_int_equal(nic_open(&nic), 0);
	lose_end = true;
	assert_int_equal(nic_switch(&nic, NEST_MODE_PASSTHROUGH), -ETIMEDOUT);
	assert_int_equal(nic.mode, NEST_MODE_PASSTHROUGH);
	arrive(false, false);
	all_well();
	assert_int_equal(nic_close(&nic), 0);
	assert_int_equal(held, 0);
}

/* The plugin finds the page; refused, interrupts come without. */
static void test_posting(void **state)
{
	(void)state;
	nic.wait = NIC_IRQ_SPIN, nic.post = true, info.mode = info.want = NEST_MODE_PASSTHROUGH;
	for (post_answer = -1; post_answer <= 0; post_answer++) {
		assert_int_equal(nic_open(&nic), 0);
		assert_ptr_equal(nic.vf.env.post_word, post_answer ? NULL : nic.posted + 1); /* vector 40h */
		assert_int_equal((!nic.posted) | nic_close(&nic), !!post_answer);
		assert_null(nic.vf.env.post_word);
	}
}

#define TEST(fn) cmocka_unit_test_setup(fn, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_switches), TEST(test_every_call_fails), TEST(test_every_step_fails), TEST(test_open_fails), TEST(test_cold),
		TEST(test_wish), TEST(test_end_lost), TEST(test_long_prepare), TEST(test_early_wish), TEST(test_posting),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
