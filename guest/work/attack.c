/*
 * DMA attacks: the guest points its VF at addresses that are not its own. Our own canary page shows whether a byte changed
 * here; what lies at attack_iova= is watched by whoever chose these addresses.
 *
 * Invariant: the rings and frames the attack needs lie in `rig`, of which all but the canary page is mapped for DMA, and
 * nothing is mapped before the first attempt.
 */
#include <stdio.h>
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/memory.h"
#include "nic/plugin/igbvf_regs.h"
#include "guest/net/ip.h"
#include "guest/net/port.h"
#include "guest/work/work.h"

#define RING_BYTES 4096u
#define CANARY 0xa5
#define SETTLE_US 20000     /* for what the device does to show */
#define FAULT_US 200000     /* for the outermost level to hear of a fault */
#define QUEUE_OFF_US 10000
#define RX_POSTED 8u
#define TARGETS_MAGIC 0x9e9e8d928d9e8bull /* what the other side looks for in this VM's memory, at the beginning of a page */
#define TARGETS_MAX 32u

/* attack_wait=1: more addresses, written from outside; count last. */
struct targets { u64 magic[4]; u64 count; u64 iova[TARGETS_MAX]; };

struct rig {
	struct vf_desc tx[RING_BYTES / 16], rx[RING_BYTES / 16];
	u8 frame[PAGE_SIZE], rx_buf[PAGE_SIZE];
	u8 canary[PAGE_SIZE];
};

struct attack {
	struct rig *rig;
	volatile u8 *regs;
	u64 handle;
	u32 frame_len;
	u64 faults;          /* seen in all attempts */
	struct targets *targets;
};

/* Where the device is told to go in one attempt. */
struct target { u64 tx_ring, rx_ring, tx_buf, rx_buf; };

static struct target own(const struct attack *a)
{
	return (struct target){ (u64)a->rig->tx, (u64)a->rig->rx, (u64)a->rig->frame, (u64)a->rig->rx_buf };
}

static void keep_frame(void *arg, const u8 *frame, u32 len)
{
	struct attack *a = arg;

	memcpy(a->rig->frame, frame, len);
	a->frame_len = MAX(len, 60u);
}

/* A broadcast ARP request: it comes back to us from the switch or as an answer, so receive is tried as well. */
static void make_frame(struct attack *a, const struct cmdline *c, const u8 *mac)
{
	static struct ip_stack ip;

	ip_init(&ip, mac, cmdline_ip(c, "ip", 0x0a000002));
	ip.arg = a;
	ip.tx = keep_frame;
	ip_arp_request(&ip, cmdline_ip(c, "peer", 0x0a000001));
}

static u64 fault_count(const struct attack *a)
{
	struct nest_nic_stats s;

	return port_stats(a->handle, &s) ? 0 : s.faults;
}

static void queues_off(struct attack *a)
{
	vf_write(a->regs, VF_EIMC, VF_ALL_VECTORS);
	vf_write(a->regs, VF_TXQ + VFQ_DCTL, 0);
	vf_write(a->regs, VF_RXQ + VFQ_DCTL, 0);
	if (!clock_wait(!((vf_read(a->regs, VF_TXQ + VFQ_DCTL) | vf_read(a->regs, VF_RXQ + VFQ_DCTL)) & VFQ_DCTL_ENABLE),
			QUEUE_OFF_US))
		printf("guest: attack: the queues do not stop\n");
}

static void delay(u64 us) { (void)!clock_wait(false, us); }

/* Fill our rings, point the device where t says, make it send one frame and receive what comes. */
static void fire(struct attack *a, const struct target *t)
{
	queues_off(a);
	for (u32 i = 0; i < RX_POSTED; i++)
		a->rig->rx[i] = vf_rx_desc(t->rx_buf);
	a->rig->tx[0] = vf_tx_desc(t->tx_buf, a->frame_len);
	compiler_barrier();
	vf_queue_program(a->regs, VF_TXQ, t->tx_ring, RING_BYTES);
	vf_queue_program(a->regs, VF_RXQ, t->rx_ring, RING_BYTES);
	vf_write(a->regs, VF_RXQ + VFQ_TAIL, RX_POSTED);
	vf_write(a->regs, VF_TXQ + VFQ_TAIL, 1);
	delay(SETTLE_US);
}

static bool canary_whole(const struct attack *a)
{
	for (u32 i = 0; i < PAGE_SIZE; i++)
		if (READ_ONCE(a->rig->canary[i]) != CANARY)
			return false;
	return true;
}

/* One attempt; its faults are printed, for whoever knows how many there must be. */
static u32 attempt(struct attack *a, const struct target *t, const char *what, u64 iova)
{
	u64 before = fault_count(a), now;
	char name[64];

	fire(a, t);
	queues_off(a);
	(void)!clock_wait(fault_count(a) > before, FAULT_US);
	now = fault_count(a);
	a->faults += now - before;
	printf("guest: attack: %s at iova %llx: %llu faults\n", what, (unsigned long long)iova, (unsigned long long)(now - before));
	sniprintf(name, sizeof(name), "attack-%s-%llx", what, (unsigned long long)iova);
	return work_check(canary_whole(a), name);
}

/* The four ways in which a VF can be pointed somewhere. */
static u32 attack_address(struct attack *a, u64 iova)
{
	struct target t = own(a);
	u32 failed;

	fire(a, &t); /* an attempt on the ring may have left a frame half sent: this one ends it */
	t.tx_buf = iova;
	failed = attempt(a, &t, "tx-buffer", iova);
	t = own(a), t.rx_buf = iova;
	failed += attempt(a, &t, "rx-buffer", iova);
	t = own(a), t.rx_ring = iova;
	failed += attempt(a, &t, "rx-ring", iova);
	t = own(a), t.tx_ring = iova;
	failed += attempt(a, &t, "tx-ring", iova);
	return failed;
}

/* Nothing is mapped yet: not even our own rings can be reached. */
static u32 attack_before_setup(struct attack *a)
{
	struct target t = own(a);
	u32 failed = attempt(a, &t, "unmapped-rings", (u64)a->rig);

	return failed + work_check(!(READ_ONCE(a->rig->tx[0].hi) & VF_TX_DD) && !(READ_ONCE(a->rig->rx[0].hi) & VF_RX_DD),
				   "attack-before-setup");
}

/* The rings stay armed while the function is given back: nothing may arrive in them afterwards. */
static u32 attack_after_free(struct attack *a, const struct nest_nic_dma *d)
{
	struct target t = own(a);
	u32 failed;

	fire(a, &t);
	failed = work_check_result(port_free(a->handle), 0, "attack-free");
	memset(a->rig, CANARY, sizeof(*a->rig));
	for (u32 reg = VF_RXQ; reg <= VF_TXQ; reg += VF_TXQ - VF_RXQ)
		vf_write(a->regs, reg + VFQ_TAIL, 0);
	delay(FAULT_US);
	for (u32 i = 0; i < sizeof(*a->rig); i++)
		if (READ_ONCE(((u8 *)a->rig)[i]) != CANARY)
			return failed + work_check(false, "attack-after-free");
	return failed + work_check(true, "attack-after-free") +
	       work_check(vf_read(a->regs, VF_TXQ + VFQ_TAIL) == ~0u, "attack-registers-gone") +
	       work_check_result(port_dma_unmap(a->handle, d, 1), -ENOENT, "attack-maps-gone");
}

static u32 attack_targets(struct attack *a, const struct targets *t)
{
	u32 failed = 0;

	printf("guest: attack: waiting for addresses\n");
	while (!READ_ONCE(t->count))
		;
	for (u32 i = 0; i < MIN(t->count, TARGETS_MAX); i++)
		failed += attack_address(a, t->iova[i]);
	return failed;
}

static u32 attack_all(struct attack *a, const struct cmdline *c)
{
	struct nest_nic_dma d = { (u64)a->rig, (u64)a->rig, offsetof(struct rig, canary), NEST_DMA_READ | NEST_DMA_WRITE, 0 };
	u32 failed = attack_before_setup(a);
	u64 iova;

	if (work_check_result(port_dma_map(a->handle, &d, 1), 0, "attack-map"))
		return failed + 1 + (port_free(a->handle) != 0);
	failed += attack_address(a, (u64)a->rig->canary);
	for (u32 i = 0; cmdline_list(c, "attack_iova", i, &iova); i++)
		failed += attack_address(a, iova);
	if (a->targets)
		failed += attack_targets(a, a->targets);
	failed += work_check(a->faults > 0, "attack-faults-reported");
	failed += attack_address(a, 0xfee00000);
	return failed + attack_after_free(a, &d);
}

u32 work_attack(const struct cmdline *c)
{
	struct attack a = { .rig = memory_pages(sizeof(struct rig) / PAGE_SIZE), .regs = (u8 *)memory_device_window() };
	u32 port = (u32)cmdline_u64(c, "nic", 0);
	struct nest_nic_info info;

	nest_phase(PHASE_CONTROL);
	if (!a.rig || port_info(port, &info))
		return work_check(false, "attack-port");
	memset(a.rig->canary, CANARY, sizeof(a.rig->canary));
	make_frame(&a, c, info.mac);
	s64 h = port_alloc(port, 0);
	if (work_check(h > 0, "attack-alloc"))
		return 1;
	a.handle = (u64)h;
	if (cmdline_u64(c, "attack_wait", 0)) {
		a.targets = memory_pages(1);
		if (work_check(a.targets, "attack-page"))
			return 1 + (port_free(a.handle) != 0);
		for (u32 i = 0; i < ARRAY_SIZE(a.targets->magic); i++)
			a.targets->magic[i] = TARGETS_MAGIC + i;
	}
	if (work_check_result(port_map_regs(a.handle, (u64)a.regs), 0, "attack-map-regs"))
		return 1 + (port_free(a.handle) != 0);
	return attack_all(&a, c);
}
