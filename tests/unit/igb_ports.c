/*
 * The ports of igb_ports.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/igb_ports.h"

const u8 stranger[6] = { 2, 0, 0, 0, 0, 0x99 }, broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const struct vm_config vm_cfg = { .name = "a" };
struct nic_config conf[IGB_MAX_PORTS];
struct vm vm;
struct igb *pf;
struct nic_port port[IGB_MAX_PORTS];
struct nic_lower lower[IGB_MAX_PORTS];
u8 frame[9300];

int prepare(void **state)
{
	(void)state;
	fakes_reset();
	pf = model_igb();
	memset(frame, 0, sizeof(frame));
	vm = (struct vm){ .cfg = &vm_cfg };
	for (u32 n = 0; n < IGB_MAX_PORTS; n++) {
		conf[n] = (struct nic_config){ .port = n, .has_mac = true, .mac = { 0x52, 0x54, 0, 0, 0, (u8)n }, .vlan = n >= 4 ? 7 : 0 };
		port[n] = (struct nic_port){ .vm = &vm, .cfg = &conf[n], .index = n };
		lower[n] = (struct nic_lower){ .ops = &igb_ops, .priv = &pf->port[n], .bound = &port[n], .index = n };
		pf->port[n].lower = &lower[n];
	}
	return 0;
}

int start(void **state)
{
	prepare(state);
	return go_on();
}

int go_on(void)
{
	igb_setup_switch(pf);
	assert_int_equal(igb_data_init(pf), 0);
	seen.command[7] |= PCI_COMMAND_MASTER;
	assert_int_equal(igb_pf_irq_init(pf), 0);
	assert_int_equal(igb_ring_start(pf), 0);
	for (u32 n = 0; n < 2; n++)
		assert_int_equal(igb_data_ops.start(&lower[n]), 0);
	model_forget();
	return 0;
}

/* What pages_alloc gave stays with a PF for good; a test's goes with it. */
int stop(void **state)
{
	(void)state;
	pages_free(&mem_self, pf->ring.desc, 1);
	pages_free(&mem_self, pf->ring.rx_buf, 7);
	pages_free(&mem_self, pf->ring.tx_buf, 7);
	pages_free(&mem_self, pf->ring.whole, 2);
	return 0;
}

const u8 *make(const u8 *to, const u8 *from, u8 mark)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = 8;
	frame[14] = mark;
	return frame;
}
void arrive(u32 pools, const u8 *to, u8 mark) { model_arrive(pools, make(to, stranger, mark), 60, 0); }
int send(u32 n, const u8 *to, u32 len) { return igb_data_ops.tx(&lower[n], make(to, conf[n].mac, 0), len); }
void rx_irq(void) { igb_data_irq(pf, 0); }

/* The marks of the frames a port's device got, END as 'E'. */
const char *heard(u32 n)
{
	static char s[512];
	u32 len = 0;
	for (u32 i = 0; i < model_nr_heard; i++) {
		if (model_heard[i].port != &port[n])
			continue;
		if (model_heard[i].kind == EV_FRAME)
			s[len++] = (char)model_heard[i].first[14];
		if (model_heard[i].kind == EV_END)
			s[len++] = 'E';
	}
	s[len] = 0;
	return s;
}
