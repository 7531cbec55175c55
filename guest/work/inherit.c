/*
 * Virtual functions inherited: two VMs take functions in turn, each the one that the other has left in the worst state that a guest can
 * leave, look at everything that they can see of it, and leave it so themselves. The turn passes by frames between their emulated devices.
 *
 * NEST_ALLOC_OTHER makes both walk through all functions in the same order, the one with turn=1 a function ahead: whoever takes a function has it
 * from the other VM (but for the first round).
 *
 * Invariant: between two turns nothing of a function is ours: no interrupt comes, and its registers are gone.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "guest/lib/traps.h"
#include "guest/work/torture_virtio.h"
#include "guest/work/work.h"
#include "nic/plugin/igbvf_regs.h"

#define ETHERTYPE 0x88b5        /* for experiments (IEEE 802, Local Experimental Ethertypes) */
#define FRAME 60u
#define VECTOR(i) (u8)(0x70 + (i))
#define VECTORS 3u
#define RING 8u
#define RING_BYTES (RING * (u32)sizeof(struct vf_desc))
#define QUIET_US 1000           /* what was pending comes at once when it can */
#define PROBE_US 200000
#define TURN_US 60000000
#define AGAIN_US 20000
#define EITR_MOST 0x7ffcu

/* What a frame of ours is about. */
enum { TURN = 1, PROBE, STRAY_GROUP, STRAY_UNICAST };
struct note { u8 to[6], from[6]; u8 type[2]; u8 kind, pad; u32 number; } __packed;

struct memory { struct vf_desc rx[RING], tx[RING]; u8 buf[RING][2048], frame[FRAME]; } __aligned_to(PAGE_SIZE);
static struct memory memory;
static u64 taken[VECTORS];

struct heir {
	struct tv tv;
	u32 count, turn;
	volatile u8 *regs;
	u64 handle;
	u32 heard;              /* the highest number in the other's turns */
	bool other;             /* its address is known */
	u8 other_mac[6];
	u32 dirty, strays, silent;
};
static struct heir heir;
static const u8 group[6] = { 1, 0, 0x5e, 0x7f, 0, 1 };

/* ---- frames ---- */

static void note_make(struct note *n, const u8 to[6], const u8 from[6], u8 kind, u32 number)
{
	memset(n, 0, sizeof(*n));
	memcpy(n->to, to, 6);
	memcpy(n->from, from, 6);
	n->type[0] = ETHERTYPE >> 8;
	n->type[1] = (u8)ETHERTYPE;
	n->kind = kind;
	n->number = number;
}

static bool is_note(const u8 *frame) { return frame[12] == ETHERTYPE >> 8 && frame[13] == (u8)ETHERTYPE; }

static void say(struct heir *h, const u8 to[6], u8 kind, u32 number)
{
	u8 frame[FRAME] = { 0 };

	note_make((struct note *)frame, to, h->tv.info.mac, kind, number);
	tv_send(&h->tv, frame, sizeof(frame));
}

static void hear(void *arg, const u8 *frame, u32 len)
{
	struct heir *h = arg;
	const struct note *n = (const struct note *)frame;

	if (len < FRAME || !is_note(frame) || n->kind != TURN)
		return;
	h->other = true;
	memcpy(h->other_mac, n->from, 6);
	h->heard = MAX(h->heard, n->number);
}

/* Until the other one has come to `number`; said: ours. */
static bool wait_turn(struct heir *h, u32 number, u32 said)
{
	u64 end = clock_deadline(TURN_US), again = 0;

	while ((!h->other || h->heard < number) && !clock_passed(end)) {
		if (clock_passed(again)) {
			say(h, eth_broadcast, TURN, said);
			again = clock_deadline(AGAIN_US);
		}
		tv_poll(&h->tv);
	}
	return h->other && h->heard >= number;
}

/* ---- taking a function ---- */

static void count(void *counter) { __atomic_fetch_add((u64 *)counter, 1, __ATOMIC_SEQ_CST); }

static bool take(struct heir *h)
{
	struct nest_nic_dma dma = { .iova = (u64)&memory, .gpa = (u64)&memory, .len = ALIGN_UP(sizeof(memory), PAGE_SIZE),
				    .perm = NEST_DMA_READ | NEST_DMA_WRITE };
	s64 r = port_alloc(h->tv.port, NEST_ALLOC_PARKED | NEST_ALLOC_OTHER);

	h->handle = (u64)r;
	if (r <= 0 || port_map_regs(h->handle, (u64)h->regs) || port_dma_map(h->handle, &dma, 1))
		return false;
	for (u32 i = 0; i < VECTORS; i++) {
		struct nest_nic_irq irq = { .vector = VECTOR(i), .apic_id = apic_id(), .pi_gpa = ~0ull };
		if (port_irq_set(h->handle, i, &irq) || port_irq_mask(h->handle, i, 0))
			return false;
	}
	return true;
}

/* ---- looking ---- */

#define RXQ(k) (VF_RXQ + 0x100u * (k))
#define TXQ(k) (VF_TXQ + 0x100u * (k))
#define VFQ_DCA 0x14
#define VFQ_RQDPC 0x30
#define VFQ_WBAL 0x38
#define VFQ_WBAH 0x3c
#define VF_EIAM 0x1530
#define VF_EICR 0x1580
#define VF_IVAR_MISC 0x1740
#define VF_VMBMEM 0x800
#define VF_PSRTYPE 0xf0c
#define RX_REGISTERS(k) { RXQ(k) + VFQ_BAL, 0 }, { RXQ(k) + VFQ_BAH, 0 }, { RXQ(k) + VFQ_LEN, 0 }, { RXQ(k) + VFQ_SRRCTL, 0 }, \
	{ RXQ(k) + VFQ_HEAD, 0 }, { RXQ(k) + VFQ_DCA, 0 }, { RXQ(k) + VFQ_TAIL, 0 }, { RXQ(k) + VFQ_DCTL, 0x10000 }, \
	{ RXQ(k) + VFQ_RQDPC, 0 }
#define TX_REGISTERS(k) { TXQ(k) + VFQ_BAL, 0 }, { TXQ(k) + VFQ_BAH, 0 }, { TXQ(k) + VFQ_LEN, 0 }, { TXQ(k) + VFQ_HEAD, 0 }, \
	{ TXQ(k) + VFQ_DCA, 0x2a00 }, { TXQ(k) + VFQ_TAIL, 0 }, { TXQ(k) + VFQ_DCTL, 0 }, { TXQ(k) + VFQ_WBAL, 0 }, \
	{ TXQ(k) + VFQ_WBAH, 0 }

/* As after a reset (82576 Datasheet, Virtual Function Device registers). VTEIMC is for writing: not here. */
static const struct { u32 reg, reset; } pages[] = {
	{ VF_EICS, 0 }, { VF_EIMS, 0 }, { VF_EIAC, 0 }, { VF_EIAM, 0 }, { VF_EICR, 0 }, { VF_EITR(0), 0 }, { VF_EITR(1), 0 },
	{ VF_EITR(2), 0 }, { VF_IVAR, 0 }, { VF_IVAR_MISC, 0 }, RX_REGISTERS(0), RX_REGISTERS(1), TX_REGISTERS(0), TX_REGISTERS(1),
};
/* Page 0, which all levels keep. VF_MAILBOX: the PF is there. */
static const struct { u32 reg, reset; } page0[] = {
	{ VF_CTRL, 0 }, { VF_MAILBOX, 0x80 }, { VF_PSRTYPE, 0 }, { VF_GPRC, 0 }, { 0xf14, 0 }, { 0xf18, 0 }, { 0xf34, 0 }, { 0xf3c, 0 },
};

static void wrong(struct heir *h, u32 reg, u32 got, u32 want)
{
	if (h->dirty++ < 8)
		printf("guest: inherit: register %x reads %x, not %x\n", reg, got, want);
}

static void expect_register(struct heir *h, u32 reg, u32 want)
{
	u32 got = vf_read(h->regs, reg);
	if (got != want)
		wrong(h, reg, got, want);
}

static void look_at_registers(struct heir *h)
{
	for (u32 i = 0; i < ARRAY_SIZE(pages); i++)
		expect_register(h, pages[i].reg, pages[i].reset);
	for (u32 i = 0; i < ARRAY_SIZE(page0); i++)
		expect_register(h, page0[i].reg, page0[i].reset);
	for (u32 i = 0; i < 16; i++)
		expect_register(h, VF_VMBMEM + 4 * i, 0);
}

static u32 ask_mailbox(struct heir *h, u32 word0, u32 word1)
{
	vf_write(h->regs, VF_VMBMEM, word0);
	vf_write(h->regs, VF_VMBMEM + 4, word1);
	vf_write(h->regs, VF_MAILBOX, VF_MAILBOX_REQ);
	return vf_read(h->regs, VF_VMBMEM);
}

#define MSG_SET_LPE 5u
#define MSG_NACK 0x40000000u

/* The former owner had announced itself to the PF; this one has not: nothing may be granted. */
static void look_at_mailbox(struct heir *h)
{
	u32 answer = ask_mailbox(h, MSG_SET_LPE, 1600);

	if (answer != (MSG_SET_LPE | MSG_NACK))
		wrong(h, VF_VMBMEM, answer, MSG_SET_LPE | MSG_NACK);
}

/* Only the former owner can have caused them. */
static void stray(struct heir *h, u64 n, const char *what)
{
	h->strays += (u32)n;
	if (n)
		printf("guest: inherit: %llu %s\n", (unsigned long long)n, what);
}

static u64 interrupts(void) { return READ_ONCE(taken[0]) + READ_ONCE(taken[1]) + READ_ONCE(taken[2]); }

/* Full ring, all interrupts on; vector 1 receives. */
static void listen(struct heir *h)
{
	memset(&memory, 0, sizeof(memory));
	for (u32 i = 0; i < RING; i++)
		memory.rx[i] = vf_rx_desc((u64)memory.buf[i]);
	vf_write(h->regs, VF_EIAC, VF_ALL_VECTORS);
	vf_write(h->regs, VF_EIMS, VF_ALL_VECTORS);
	vf_write(h->regs, VF_IVAR, VF_IVAR_RX0(1));
	vf_queue_program(h->regs, VF_RXQ, (u64)memory.rx, RING_BYTES);
	vf_write(h->regs, RXQ(0) + VFQ_TAIL, RING - 1);
}

static bool arrived(u32 i) { return READ_ONCE(memory.rx[i].hi) & VF_RX_DD; }

/* The frames in the ring: the probe must come; a group or an address that only the former owner wanted must not. */
static void look_at_frames(struct heir *h, u32 number)
{
	bool probe = false;
	u64 end = clock_deadline(PROBE_US);

	for (u32 i = 0; i < RING - 1 && !probe; i++) {
		const struct note *n = (const struct note *)memory.buf[i];
		while (!arrived(i) && !clock_passed(end))
			;
		if (!arrived(i))
			break;
		probe = is_note(memory.buf[i]) && n->kind == PROBE && n->number == number;
		stray(h, !(memory.buf[i][0] & 1), "frames to another address");
		stray(h, !memcmp(memory.buf[i], group, 6), "frames to a group that was not asked for");
	}
	h->silent += !probe;
}

/* before: how many interrupts there were when the function was taken. */
static bool look(struct heir *h, u32 number, u64 before)
{
	look_at_registers(h);
	look_at_mailbox(h);
	listen(h);
	(void)!clock_wait(false, QUIET_US);
	stray(h, interrupts() - before, "interrupts of a function that has done nothing");
	if (port_prepare(h->tv.port, NEST_MODE_PASSTHROUGH)) /* group frames come from here on */
		return false;
	u64 others = READ_ONCE(taken[0]) + READ_ONCE(taken[2]), mine = READ_ONCE(taken[1]);
	say(h, group, STRAY_GROUP, number);
	say(h, h->other_mac, STRAY_UNICAST, number);
	say(h, eth_broadcast, PROBE, number);
	look_at_frames(h, number);
	h->silent += !clock_wait(READ_ONCE(taken[1]) != mine, PROBE_US);
	stray(h, READ_ONCE(taken[0]) + READ_ONCE(taken[2]) - others, "interrupts of vectors that have no cause");
	return true;
}

/* ---- leaving ---- */

static void leave_queues(struct heir *h, u32 pattern)
{
	volatile u8 *r = h->regs;

	for (u32 k = 0; k < 2; k++) {
		vf_write(r, RXQ(k) + VFQ_SRRCTL, 0x82000402 ^ (pattern & 0xff00));
		vf_write(r, RXQ(k) + VFQ_DCA, pattern);
		vf_write(r, TXQ(k) + VFQ_DCA, pattern);
		vf_write(r, TXQ(k) + VFQ_WBAH, pattern >> 20);
		vf_write(r, TXQ(k) + VFQ_WBAL, pattern & ~3u);
	}
	vf_write(r, RXQ(1) + VFQ_BAL, pattern & ~127u);
	vf_write(r, RXQ(1) + VFQ_BAH, pattern >> 24);
	vf_write(r, RXQ(1) + VFQ_LEN, 4096);
	vf_write(r, RXQ(1) + VFQ_HEAD, 7);
	vf_write(r, RXQ(1) + VFQ_TAIL, 7);
	vf_write(r, RXQ(1) + VFQ_DCTL, VFQ_DCTL_ENABLE | 0x1f1f1f);
	vf_write(r, TXQ(1) + VFQ_BAL, pattern & ~127u);
	vf_write(r, TXQ(1) + VFQ_BAH, pattern >> 24);
	vf_write(r, TXQ(1) + VFQ_LEN, 8192);
	vf_write(r, TXQ(1) + VFQ_HEAD, 9);
	vf_write(r, TXQ(1) + VFQ_DCTL, VFQ_DCTL_ENABLE | 0x1f1f1f);
	vf_write(r, TXQ(1) + VFQ_TAIL, 9);
}

/* A broadcast from the function itself: it comes back to it, and both its rings have moved. */
static void leave_traffic(struct heir *h)
{
	note_make((struct note *)memory.frame, eth_broadcast, h->tv.info.mac, 0, 0);
	memory.tx[0] = vf_tx_desc((u64)memory.frame, FRAME);
	vf_write(h->regs, TXQ(0) + VFQ_WBAL, 0);
	vf_queue_program(h->regs, VF_TXQ, (u64)memory.tx, RING_BYTES);
	vf_write(h->regs, TXQ(0) + VFQ_TAIL, 1);
	vf_write(h->regs, TXQ(0) + VFQ_DCTL, VFQ_DCTL_ENABLE | 0x1f1f1f);
	vf_write(h->regs, RXQ(0) + VFQ_DCTL, VFQ_DCTL_ENABLE | 0x1f1f1f);
}

static void leave_mailbox(struct heir *h, u32 pattern)
{
	struct nest_nic_conf conf = { .what = NEST_CONF_GROUPS | NEST_CONF_PROMISC | NEST_CONF_MAX_FRAME, .max_frame = 1514,
				      .flags = NEST_CONF_FLAG_ALL_GROUPS, .nr_groups = 1 };

	memcpy(conf.group[0], group, 6);
	(void)port_configure(h->handle, &conf);
	ask_mailbox(h, 1, 0);                  /* RESET: now it is granted what is asked */
	ask_mailbox(h, 3 | 2 << 16, 0x0fff0001);
	ask_mailbox(h, MSG_SET_LPE, 9000);
	ask_mailbox(h, 6 | 2 << 16, 0);        /* promiscuous */
	ask_mailbox(h, 4 | 1 << 16, 1234);     /* a VLAN */
	for (u32 i = 0; i < 16; i++)
		vf_write(h->regs, VF_VMBMEM + 4 * i, pattern ^ i);
	vf_write(h->regs, VF_MAILBOX, 4);      /* "the buffer is mine" */
	vf_write(h->regs, VF_PSRTYPE, pattern);
}

/* Causes raised with some vectors masked at the table, and again; held: while moderation holds them back, which costs the PF a reset more. */
static void leave_interrupts(struct heir *h, u32 pattern, bool held)
{
	for (u32 i = 0; i < VECTORS; i++) {
		(void)port_irq_mask(h->handle, i, pattern >> i & 1);
		vf_write(h->regs, VF_EITR(i), held ? EITR_MOST : 0);
	}
	vf_write(h->regs, VF_IVAR, 0x80818082u | (pattern & 0x03030303));
	vf_write(h->regs, VF_IVAR_MISC, 0x80 | (pattern & 3));
	vf_write(h->regs, VF_EIAM, pattern);
	vf_write(h->regs, VF_EICR, pattern);
	vf_write(h->regs, VF_EIAC, pattern);
	vf_write(h->regs, VF_EIMS, pattern | VF_ALL_VECTORS);
	for (u32 i = 0; i < 4; i++)
		vf_write(h->regs, VF_EICS, pattern | VF_ALL_VECTORS);
	for (u32 i = 0; i < VECTORS; i++)
		vf_write(h->regs, VF_EITR(i), EITR_MOST);
}

/* In each state of the port that a guest can bring it into. */
static bool leave(struct heir *h, u32 number)
{
	u32 pattern = 0xa5c3e187u * (number + 1);
	bool ok = true;

	leave_mailbox(h, pattern);
	leave_queues(h, pattern);
	leave_traffic(h);
	leave_interrupts(h, pattern, number % 5 == 0);
	switch (number / 2 % 4) {
	case 0: break;                                                                   /* prepared */
	case 1: ok = port_commit(h->tv.port, NEST_MODE_PASSTHROUGH) >= 0; break;             /* passing through */
	case 2: ok = !port_abort(h->tv.port, NEST_MODE_PASSTHROUGH) && !port_quiesce(h->handle); break;
	default: ok = !port_abort(h->tv.port, NEST_MODE_PASSTHROUGH) && !port_unmap_regs(h->handle);
	}
	ok = port_free(h->handle) == 0 && ok;
	return ok && vf_read(h->regs, VF_STATUS) == ~0u;
}

/* ---- turns ---- */

static bool turn(struct heir *h, u32 number)
{
	u64 before = interrupts();
	bool waited = wait_turn(h, number, number ? number - 1 : 0);

	stray(h, interrupts() - before, "interrupts of a function that was given back");
	before = interrupts();
	return waited && take(h) && look(h, number, before) && leave(h, number);
}

u32 work_inherit(const struct cmdline *c)
{
	struct heir *h = &heir;
	u32 good = 0, mine = 0;

	nest_phase(PHASE_CONTROL);
	h->count = (u32)cmdline_u64(c, "count", 200);
	h->turn = (u32)cmdline_u64(c, "turn", 0);
	h->regs = (volatile u8 *)memory_device_window();
	if (!tv_open(&h->tv, c))
		return work_check(false, "inherit-open");
	h->tv.hook = hear;
	h->tv.hook_arg = h;
	for (u32 i = 0; i < VECTORS; i++)
		irq_bind(VECTOR(i), count, &taken[i]);
	for (u32 n = h->turn; n < h->count; n += 2, mine++) {
		u32 before = h->dirty + h->strays + h->silent;
		bool went = turn(h, n);
		good += went && h->dirty + h->strays + h->silent == before;
		if (n < 2 || n + 2 >= h->count)
			nest_call(HC_REPORT, 0, 0, 0, 0);
		if (!went)
			break;
	}
	(void)wait_turn(h, h->count - 1, h->count); /* the other one's last turn needs our last word */
	for (u32 i = 0; i < 10; i++) {
		say(h, eth_broadcast, TURN, h->count);
		(void)!clock_wait(false, AGAIN_US);
	}
	printf("guest: inherit: %u of %u functions clean; %u registers, %u frames and interrupts of the former owner, %u times nothing of our own\n",
	       good, mine, h->dirty, h->strays, h->silent);
	for (u32 i = 0; i < VECTORS; i++)
		irq_bind(VECTOR(i), NULL, NULL);
	tv_close(&h->tv);
	return work_check(good == mine && mine == (h->count - h->turn + 1) / 2, "inherit");
}
