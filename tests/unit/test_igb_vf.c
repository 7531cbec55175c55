/*
 * A VF's life: given, used through page 0 and the mailbox, taken back; with every step failing once; the books must balance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "tests/unit/igb_model.h"
#include "tests/unit/nic_fakes.h"

#define MEM 0x800u
#define V2P 0xc40u
#define ACK 0x80000000u
#define NACK 0x40000000u
#define CTS 0x20000000u

static const struct vm_config vm_cfg = { .name = "a" };
static struct nic_config conf;
static struct vm vm;
static struct igb *pf;
static struct nic_port port;
static struct nic_lower lower[IGB_MAX_PORTS];

static int start(void **state)
{
	(void)state;
	fakes_reset();
	pf = model_igb();
	vm = (struct vm){ .cfg = &vm_cfg };
	conf = (struct nic_config){ .mode = NIC_PASSTHROUGH, .has_mac = true, .mac = { 0x52, 0x54, 0, 0, 0, 2 } };
	port = (struct nic_port){ .vm = &vm, .cfg = &conf };
	for (u32 v = 0; v < IGB_MAX_PORTS; v++) {
		lower[v] = (struct nic_lower){ .ops = &igb_ops, .priv = &pf->port[v], .bound = &port, .index = v };
		pf->port[v].lower = &lower[v];
	}
	return 0;
}

static int given(void **state)
{
	start(state);
	return igb_ops.alloc(&lower[0], &vm, &conf, 0);
}

static void balanced(void)
{
	static const struct fake_balance none;
	assert_memory_equal(&fake_balance, &none, sizeof(none));
	assert_int_equal(seen.command[0] & PCI_COMMAND_MASTER, 0);
}

static u32 rd(u32 reg)
{
	u32 v = 0x55;
	assert_int_equal(igb_reg_read(&lower[0], reg, &v), 0);
	return v;
}
static void wr(u32 reg, u32 v) { assert_int_equal(igb_reg_write(&lower[0], reg, v), 0); }

/* One request as igbvf makes it; its answer's first word. */
static u32 ask(u32 w0, u32 w1, u32 w2)
{
	wr(V2P, 4);
	assert_true(rd(V2P) & 4);
	wr(MEM, w0);
	wr(MEM + 4, w1);
	wr(MEM + 8, w2);
	wr(V2P, 1);
	u32 v2p = rd(V2P);
	assert_int_equal(v2p & 0x34, 0x30); /* acknowledged and answered, buffer free */
	assert_int_equal(rd(V2P) & 0xb0, 0); /* reading cleared them */
	wr(V2P, 4);
	u32 answer = rd(MEM);
	wr(V2P, 2);
	return answer;
}

/* ---- giving and taking ---- */

static void alloc_gives_a_clean_vf(void **state)
{
	struct nest_nic_info info;
	hpa_t base;
	(void)state;
	assert_int_equal(igb_ops.info(&lower[0], &info), 0);
	assert_memory_equal(info.mac, conf.mac, 6);
	assert_int_equal(info.irq_vectors, 3);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0);
	assert_int_equal(pf->vf[0].state, VF_OWNED);
	assert_int_equal(fake_balance.attached, 1);
	assert_true(seen.command[0] & PCI_COMMAND_MASTER);
	assert_int_equal(igb_ops.map_regs(&lower[0], &base), 0);
	assert_int_equal(base.v, 0x800020000);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), -EBUSY);
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	assert_int_equal(seen.flrs, 1);
	balanced();
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0);
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	balanced();
}

static void alloc_fails_clean(void **state)
{
	(void)state;
	fake.err_attach = -ENODEV;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), -ENODEV);
	balanced();
	fake.no_domain = true;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), -ENOMEM);
	balanced();
	fake.no_domain = false;
	model_set(MODEL_PF, IGB_RXQ(0) + IGB_Q_DCTL, (u32)IGB_Q_DCTL_ENABLE);
	model_stuck_queue = true;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), -ETIMEDOUT);
	balanced();
	model_stuck_queue = false;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0);
	igb_ops.free(&lower[0]);
}

static void addresses_are_checked(void **state)
{
	struct nic_config other = conf;
	(void)state;
	other.mac[0] = 1;
	assert_int_equal(igb_ops.alloc(&lower[1], &vm, &other, 0), -EINVAL);
	assert_int_equal(igb_ops.alloc(&lower[1], &vm, &conf, 0), -EINVAL); /* VF 0 has it */
	other.has_mac = false;
	assert_int_equal(igb_ops.alloc(&lower[1], &vm, &other, 0), 0);
	assert_int_equal(pf->port[1].mac[0] & 3, 2); /* local, unicast */
	igb_ops.free(&lower[1]);
	igb_ops.free(&lower[0]);
	balanced();
}

static void no_virtual_functions(void **state)
{
	struct nest_nic_info info;
	(void)state;
	for (u32 v = 0; v < IGB_MAX_VFS; v++)
		pf->vf[v].state = VF_ABSENT;
	pf->nr_vfs = 0;
	pf->why_no_vf = "it has no SR-IOV";
	assert_int_equal(igb_ops.info(&lower[0], &info), 0);
	assert_false(info.flags & NEST_NIC_MAY_PASS);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), -ENODEV);
	assert_non_null(strstr(seen.last_line, "no SR-IOV"));
	balanced();
}

static void lost_after_a_bad_reset(void **state)
{
	(void)state;
	fake.err_flr = -ETIMEDOUT;
	assert_int_equal(igb_ops.free(&lower[0]), -EIO);
	assert_int_equal(pf->vf[0].state, VF_LOST);
	balanced();
	assert_int_equal(seen.vms_ended, 0);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0); /* another VF */
	assert_int_equal(pf->port[0].vf->index, 1);
	igb_ops.free(&lower[0]);
	balanced();
	for (u32 v = 1; v < IGB_MAX_VFS; v++)
		pf->vf[v].state = VF_LOST;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), -ENODEV);
	assert_non_null(strstr(seen.last_line, "all failed before"));
}

static void vf_without_flr_resets_itself(void **state)
{
	(void)state;
	fake.err_flr = -ENOTSUP;
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	assert_true(model_last_write(0, IGB_CTRL) >= 0);
	balanced();
}

/* An interrupt that moderation held back comes after the reset: it is not the next owner's. */
static void late_interrupts_are_reset_away(void **state)
{
	u32 *pending = (u32 *)(pf->vf[0].bar3 + 0x2000);
	(void)state;
	fake.pending = pending;
	*pending = 2;
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	assert_int_equal(seen.flrs, 1);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0);
	fake.late_irqs = 1;
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	assert_int_equal(seen.flrs, 3);
	assert_int_equal(*pending, 0);
	balanced();
}

static void lost_after_a_bad_detach(void **state)
{
	(void)state;
	fake.err_detach = -EIO;
	assert_int_equal(igb_ops.free(&lower[0]), -EIO);
	assert_int_equal(seen.isolated, 1);
	assert_int_equal(seen.vms_ended, 1);
	assert_int_equal(pf->vf[0].state, VF_LOST);
	balanced();
}

static void lost_after_a_bad_unmap(void **state)
{
	struct iommu_range r = { IOVA(0), HPA(0), PAGE_SIZE, 0 };
	(void)state;
	fake.err_unmap = -EIO;
	assert_int_equal(igb_ops.dma_unmap(&lower[0], &r, 1), -EIO);
	assert_int_equal(seen.isolated, 1);
	assert_int_equal(seen.vms_ended, 1);
	assert_int_equal(igb_ops.dma_map(&lower[0], &r, 1), -EIO); /* for good */
	assert_int_equal(igb_ops.free(&lower[0]), -EIO);
	balanced();
}

static void cannot_be_isolated(void **state)
{
	struct iommu_range r = { IOVA(0), HPA(0), PAGE_SIZE, 0 };
	(void)state;
	fake.err_unmap = -EIO;
	fake.not_isolated = true;
	expect_assert_failure(igb_ops.dma_unmap(&lower[0], &r, 1));
	fake.not_isolated = false;
	fake_balance.attached = 0;
}

static void any_free_vf_will_do(void **state)
{
	struct nic_config other = conf;
	(void)state;
	pf->vf[3].state = VF_LOST;
	other.has_mac = false;
	assert_int_equal(igb_ops.alloc(&lower[2], &vm, &conf, 0), 0);
	assert_int_equal(pf->port[2].vf->index, 2); /* its number, by default */
	assert_int_equal(igb_ops.alloc(&lower[3], &vm, &other, 0), 0);
	assert_int_equal(pf->port[3].vf->index, 4);
	assert_int_equal(igb_ops.free(&lower[2]), 0);
	assert_int_equal(igb_ops.alloc(&lower[2], &vm, &conf, NEST_ALLOC_OTHER), 0);
	assert_int_equal(pf->port[2].vf->index, 5);
	assert_int_equal(model_get(MODEL_PF, IGB_RAH(IGB_PORT_RAR(2))) & IGB_RAH_POOL, 1u << (18 + 5)); /* its own entry, any pool */
	assert_int_equal(igb_ops.free(&lower[2]), 0);
	for (u32 v = 0; v < IGB_MAX_VFS; v++)
		if (v != 5 && pf->vf[v].state == VF_FREE)
			pf->vf[v].state = VF_LOST;
	assert_int_equal(igb_ops.alloc(&lower[2], &vm, &conf, NEST_ALLOC_OTHER), 0); /* no choice */
	assert_int_equal(pf->port[2].vf->index, 5);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &other, 0), -ENODEV);
	assert_non_null(strstr(seen.last_line, "all are given"));
	igb_ops.free(&lower[2]);
	igb_ops.free(&lower[3]);
	balanced();
}

static void parked_takes_nothing(void **state)
{
	(void)state;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, NEST_ALLOC_PARKED), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_RAH(IGB_PORT_RAR(0))), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & (IGB_VMOLR_BAM | IGB_VMOLR_ROMPE), 0);
	assert_true(seen.command[0] & PCI_COMMAND_MASTER);
	igb_ops.free(&lower[0]);
	balanced();
}

/* Each step of giving fails once; nothing is left. */
static void every_step_of_alloc_fails(void **state)
{
	static const char *const points[] = { "igb: VF claim", "igb: VF stops before it is given", "igb: VF MSI-X table",
					      "igb: VF domain", "igb: VF attach" };
	struct nic_irq_request req = { 0, 0x41, HPA_NONE, 0 };
	struct iommu_range r = { IOVA(0), HPA(0), PAGE_SIZE, 0 };
	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(points); i++) {
		fake.fault = points[i];
		assert_true(igb_ops.alloc(&lower[0], &vm, &conf, 0) < 0);
		assert_null(fake.fault);
		assert_null(pf->port[0].vf);
		assert_int_equal(pf->vf[0].state, VF_FREE);
		balanced();
	}
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0);
	fake.fault = "igb: VF memory map";
	assert_int_equal(igb_ops.dma_map(&lower[0], &r, 1), -ENOMEM);
	fake.fault = "igb: VF interrupt allotted";
	assert_int_equal(igb_irq_set(&lower[0], 0, &req), -ENOSPC);
	fake.fault = "igb: VF interrupt routed";
	assert_int_equal(igb_irq_set(&lower[0], 0, &req), -ENOSPC);
	assert_int_equal(fake_balance.irtes, 0);
	igb_ops.free(&lower[0]);
	balanced();
}

/* ---- interrupts ---- */

static void retarget_changes_the_irte_only(void **state)
{
	struct nic_irq_request a = { 0, 0x41, HPA_NONE, 0 }, b = { 1, 0x52, HPA_NONE, 0 };
	u32 *entry = (u32 *)(pf->vf[0].bar3 + 16);
	(void)state;
	assert_int_equal(igb_irq_set(&lower[0], 1, &a), 0);
	int handle = pf->vf[0].irte[1];
	assert_int_equal(seen.irte_apic[handle], 10);
	assert_int_equal(seen.irte_vector[handle], 0x41);
	assert_int_equal(entry[0], 0xfee00010u | (u32)handle << 5);
	assert_int_equal(entry[3], 0);
	u32 before[4];
	memcpy(before, entry, 16);
	assert_int_equal(igb_irq_set(&lower[0], 1, &b), 0);
	assert_int_equal(seen.irte_apic[handle], 11);
	assert_memory_equal(before, entry, 16);
	assert_int_equal(igb_irq_mask(&lower[0], 1, true), 0);
	assert_int_equal(entry[3], 1);
	assert_int_equal(igb_irq_mask(&lower[0], 1, false), 0);
	assert_int_equal(entry[3], 0);
	assert_int_equal(igb_irq_post(&lower[0], 1, HPA(0x3000)), 0); /* nothing to do: the entry names our vector in any case */
	assert_int_equal(igb_irq_post(&lower[0], 0, HPA(0x3000)), -EINVAL);
	assert_int_equal(igb_irq_post(&lower[0], 3, HPA(0x3000)), -EINVAL);
	assert_int_equal(igb_irq_clear(&lower[0], 1), 0);
	assert_int_equal(entry[3], 1);
	assert_int_equal(igb_irq_clear(&lower[0], 1), -EINVAL);
	assert_int_equal(igb_irq_mask(&lower[0], 3, true), -EINVAL);
	fake.err_irq_set = -EINVAL;
	assert_int_equal(igb_irq_set(&lower[0], 0, &a), -EINVAL);
	fake.err_irq_alloc = -ENOSPC;
	assert_int_equal(igb_irq_set(&lower[0], 0, &a), -ENOSPC);
	assert_int_equal(igb_irq_set(&lower[0], 2, &a), 0); /* freed with the VF */
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	balanced();
}

/* ---- mailbox ---- */

static void igbvf_is_satisfied(void **state)
{
	(void)state;
	wr(0, 1u << 26);
	assert_true(rd(V2P) & 0x80); /* reset done */
	assert_int_equal(ask(1, 0, 0), 1 | ACK);
	assert_int_equal(rd(MEM + 4), 0x00005452);
	assert_int_equal(rd(MEM + 8), 0x0200);
	assert_int_equal(ask(2, 0x00005452, 0x0200), 2 | ACK | CTS);
	assert_int_equal(rd(8), 0x83); /* full duplex, up, 1000; nothing else of the PF's STATUS */
}

static void mailbox_policy(void **state)
{
	static const struct { u32 w0, w1, w2; bool ok; } table[] = {
		{ 2, 0x00005452, 0x0200, true },          /* its own address */
		{ 2, 0x00005452, 0xffff0200, true },      /* the upper half is not part of it */
		{ 2, 0x00005452, 0x0300, false },         /* another's */
		{ 2, 0, 0, false },
		{ 2 | 1 << 16, 0, 0, true },              /* no filters besides */
		{ 2 | 2 << 16, 0x00005452, 0x0300, false },
		{ 3 | 2 << 16, 0x0fff0123, 0, true },
		{ 3 | 30 << 16, 0, 0, true },
		{ 3 | 31 << 16, 0, 0, false },
		{ 3 | 255u << 16, 0, 0, false },
		{ 4 | 1 << 16, 0, 0, true },              /* VLAN 0 = none, as configured */
		{ 4 | 1 << 16, 5, 0, false },
		{ 4, 5, 0, false },
		{ 5, 1518, 0, true },
		{ 5, 9216, 0, true },
		{ 5, 9217, 0, false },
		{ 5, 63, 0, false },
		{ 5, ~0u, 0, false },
		{ 6, 0, 0, false },
		{ 6 | 2 << 16, 0, 0, false },             /* promiscuity */
		{ 7, 0, 0, false }, { 0x100, 0, 0, false }, { 0xffff, 0, 0, false }, { 0, 0, 0, false },
	};
	(void)state;
	assert_int_equal(ask(2, 0x00005452, 0x0200), 2 | NACK); /* before RESET nothing is granted, nor "clear to send" */
	assert_int_equal(ask(1, 0, 0), 1 | ACK);
	for (u32 i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(ask(table[i].w0, table[i].w1, table[i].w2),
				 table[i].w0 | (table[i].ok ? ACK : NACK) | CTS);
	assert_int_equal(model_get(MODEL_PF, IGB_RAL(23)), 0x00005452); /* whatever it asked for */
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & (IGB_VMOLR_RLPML | 1u << 28), 9216);
}

static void multicast_reaches_the_table(void **state)
{
	(void)state;
	ask(1, 0, 0);
	assert_int_equal(ask(3 | 2 << 16, 0x0fff0123, 0), (3 | 2 << 16) | ACK | CTS);
	assert_int_equal(model_get(MODEL_PF, IGB_MTA(127)), 1u << 31);
	assert_int_equal(ask(1, 0, 0), 1 | ACK); /* RESET forgets them */
	assert_int_equal(model_get(MODEL_PF, IGB_MTA(127)), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & 1u << 25, 0);
}

static void hardware_mailbox_has_the_same_policy(void **state)
{
	(void)state;
	model_set(MODEL_PF, IGB_VMBMEM(0, 0), 1);
	model_set(MODEL_PF, IGB_MBVFICR, 1);
	igb_mbx_service(pf);
	assert_int_equal(model_get(MODEL_PF, IGB_VMBMEM(0, 0)), 1 | ACK);
	assert_int_equal(model_get(MODEL_PF, IGB_VMBMEM(0, 1)), 0x00005452);
	assert_int_equal(model_log[model_last_write(MODEL_PF, IGB_P2VMAILBOX(0))].value, 1);
	assert_int_equal(model_get(MODEL_PF, IGB_MBVFICR), 0);
	model_set(MODEL_PF, IGB_VMBMEM(0, 0), 6);
	model_set(MODEL_PF, IGB_MBVFICR, 1);
	igb_mbx_service(pf);
	assert_int_equal(model_get(MODEL_PF, IGB_VMBMEM(0, 0)), 6 | NACK | CTS);
	model_forget();
	model_set(MODEL_PF, IGB_MBVFICR, 2); /* VF 1 has no owner */
	igb_mbx_service(pf);
	assert_int_equal(model_last_write(MODEL_PF, IGB_P2VMAILBOX(1)), -1);
}

static void link_change_is_told(void **state)
{
	(void)state;
	igb_mbx_ping(&pf->vf[0]); /* it has not announced itself */
	assert_int_equal(rd(V2P) & 0x10, 0);
	ask(1, 0, 0);
	model_set(0, IGB_VTIVAR_MISC, 0x82);
	igb_mbx_ping(&pf->vf[0]);
	assert_true(rd(V2P) & 0x10);
	assert_int_equal(rd(MEM), 0x100 | CTS);
	assert_int_equal(model_get(0, IGB_EICS), 4);
}

/* ---- page 0 ---- */

static void page0_is_policed(void **state)
{
	(void)state;
	for (u32 reg = 0; reg < 0x1000; reg += 4) {
		bool mailbox = (reg >= 0x800 && reg < 0x840) || reg == 0xc40;
		bool writable = mailbox || reg == 0 || reg == 0xf0c;
		u32 v;
		if (mailbox)
			continue;
		model_forget();
		assert_int_equal(igb_reg_write(&lower[0], reg, 0xfbffffff), writable ? 0 : -EPERM);
		assert_int_equal(igb_reg_read(&lower[0], reg, &v), 0);
		if (!writable && reg != 8)
			assert_int_equal(v, 0);
		if (reg != 0xf0c)
			assert_int_equal(model_writes, 0); /* nothing reached the hardware */
	}
	u32 v;
	assert_int_equal(igb_reg_read(&lower[0], 0x1000, &v), -EINVAL);
	assert_int_equal(igb_reg_read(&lower[0], 2, &v), -EINVAL);
	assert_int_equal(igb_reg_write(&lower[0], 0x1524, 1), -EINVAL);
}

static void own_reset_restores_the_pool(void **state)
{
	(void)state;
	ask(1, 0, 0);
	ask(3 | 1 << 16, 0x123, 0);
	model_set(MODEL_PF, IGB_RXQ(0) + IGB_Q_LEN, 4096);
	model_set(MODEL_PF, IGB_IVAR(0), 0x8181);
	wr(0, 1u << 26);
	assert_int_equal(model_get(0, IGB_CTRL), 1u << 26); /* the VF's own reset was asserted */
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(0) + IGB_Q_LEN), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_IVAR(0)), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VFRE) & 1, 1);
	assert_int_equal(model_get(MODEL_PF, IGB_VFTE) & 1, 1);
	assert_int_equal(model_get(MODEL_PF, IGB_RAL(23)), 0x00005452);
	assert_int_equal(model_get(MODEL_PF, IGB_MTA(0x123 >> 5)), 0);
	assert_int_equal(ask(5, 1518, 0), 5 | NACK); /* and the VF has to announce itself again */
}

static void configure_keeps_policy(void **state)
{
	struct nest_nic_conf c = { .what = NEST_CONF_MAC | NEST_CONF_VLAN, .mac = { 0x52, 0x54, 0, 0, 0, 2 } };
	(void)state;
	assert_int_equal(igb_ops.configure(&lower[0], &c), 0);
	c.vlan = 5;
	assert_int_equal(igb_ops.configure(&lower[0], &c), -EPERM);
	c = (struct nest_nic_conf){ .what = NEST_CONF_MAC | NEST_CONF_MAX_FRAME, .max_frame = 9000 };
	assert_int_equal(igb_ops.configure(&lower[0], &c), -EPERM);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & IGB_VMOLR_RLPML, 1518); /* all or nothing */
	c.what = NEST_CONF_MAX_FRAME;
	assert_int_equal(igb_ops.configure(&lower[0], &c), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VMOLR(0)) & IGB_VMOLR_RLPML, 9004);
	c.max_frame = 9213;
	assert_int_equal(igb_ops.configure(&lower[0], &c), -EINVAL);
	c.what = 1u << 8;
	assert_int_equal(igb_ops.configure(&lower[0], &c), -EINVAL);
}

/* ---- statistics ---- */

static void counters_wrap_and_start_at_zero(void **state)
{
	const u32 gprc = 0x10010, gorc = 0x10018;
	struct nest_nic_stats s;
	(void)state;
	start(state);
	model_set(MODEL_PF, gprc, 1000); /* of an earlier owner */
	model_set(MODEL_PF, gorc, 0xffffff00);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0);
	assert_int_equal(igb_ops.stats(&lower[0], &s), 0);
	assert_int_equal(s.rx_packets, 0);
	model_set(MODEL_PF, gprc, 1007);
	model_set(MODEL_PF, gorc, 0x100);
	assert_true(fake_timer()); /* read in time, before it wraps again */
	assert_true(fake_timer());
	model_set(MODEL_PF, gorc, 0x80);
	port.nr_irqs = 3;
	assert_int_equal(igb_ops.stats(&lower[0], &s), 0);
	assert_int_equal(s.rx_packets, 7);
	assert_int_equal(s.rx_bytes, 0x200 + 0xffffff80ull - 7 * 4); /* without FCS */
	assert_int_equal(s.irqs, 3);
	assert_int_equal(rd(0xf10), 7);
	assert_int_equal(rd(0xf18), (u32)(0x200 + 0xffffff80ull));
	igb_ops.free(&lower[0]);
	assert_true(fake_timer());
	assert_false(fake_timer()); /* nobody to sample for */
	assert_int_equal(igb_ops.stats(&lower[0], &s), 0); /* also without a VF */
	assert_int_equal(s.rx_packets, 7);
	model_set(MODEL_PF, 0x10110, 5);
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, NEST_ALLOC_OTHER), 0);
	model_set(MODEL_PF, 0x10110, 7);
	assert_int_equal(igb_ops.stats(&lower[0], &s), 0); /* totals of both VFs */
	assert_int_equal(s.rx_packets, 9);
	assert_int_equal(rd(0xf10), 2); /* the guest sees those of its own */
	igb_ops.free(&lower[0]);
}

/* Frames that a guest sends until its gates shut, while the function is taken back, count. */
static void on_gates(u32 reg, u32 value)
{
	if (reg == IGB_VFTE && !(value & 1))
		model_set(MODEL_PF, IGB_PVF_STAT(0, IGB_VF_GPTC), 12);
}

static void the_last_frames_count(void **state)
{
	struct nest_nic_stats s;
	(void)state;
	model_set(MODEL_PF, IGB_PVF_STAT(0, IGB_VF_GPTC), 10);
	model_on_write = on_gates;
	assert_int_equal(igb_ops.free(&lower[0]), 0);
	model_on_write = NULL;
	assert_int_equal(igb_ops.stats(&lower[0], &s), 0);
	assert_int_equal(s.tx_packets, 12);
}

/* The tag that the NIC puts in is counted by it, and in no statistics of the port. */
static void tags_are_no_octets(void **state)
{
	struct nest_nic_stats s;
	(void)state;
	start(state);
	conf.vlan = 7;
	assert_int_equal(igb_ops.alloc(&lower[0], &vm, &conf, 0), 0);
	model_set(MODEL_PF, IGB_PVF_STAT(0, IGB_VF_GPTC), 3);
	model_set(MODEL_PF, IGB_PVF_STAT(0, IGB_VF_GOTC), 3 * (60 + 4 + 4));
	model_set(MODEL_PF, IGB_PVF_STAT(0, IGB_VF_GPRC), 2);
	model_set(MODEL_PF, IGB_PVF_STAT(0, IGB_VF_GORC), 2 * (60 + 4)); /* off before it is counted */
	assert_int_equal(igb_ops.stats(&lower[0], &s), 0);
	assert_int_equal(s.tx_bytes, 180);
	assert_int_equal(s.rx_bytes, 120);
	igb_ops.free(&lower[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(alloc_gives_a_clean_vf, start), cmocka_unit_test_setup(alloc_fails_clean, start),
		cmocka_unit_test_setup(any_free_vf_will_do, start), cmocka_unit_test_setup(parked_takes_nothing, start),
		cmocka_unit_test_setup(every_step_of_alloc_fails, start),
		cmocka_unit_test_setup(addresses_are_checked, given), cmocka_unit_test_setup(no_virtual_functions, start),
		cmocka_unit_test_setup(lost_after_a_bad_reset, given), cmocka_unit_test_setup(vf_without_flr_resets_itself, given),
		cmocka_unit_test_setup(late_interrupts_are_reset_away, given),
		cmocka_unit_test_setup(lost_after_a_bad_detach, given), cmocka_unit_test_setup(lost_after_a_bad_unmap, given),
		cmocka_unit_test_setup(cannot_be_isolated, given), cmocka_unit_test_setup(retarget_changes_the_irte_only, given),
		cmocka_unit_test_setup(igbvf_is_satisfied, given), cmocka_unit_test_setup(mailbox_policy, given),
		cmocka_unit_test_setup(multicast_reaches_the_table, given),
		cmocka_unit_test_setup(hardware_mailbox_has_the_same_policy, given), cmocka_unit_test_setup(link_change_is_told, given),
		cmocka_unit_test_setup(page0_is_policed, given), cmocka_unit_test_setup(own_reset_restores_the_pool, given),
		cmocka_unit_test_setup(configure_keeps_policy, given), cmocka_unit_test_setup(counters_wrap_and_start_at_zero, start),
		cmocka_unit_test_setup(the_last_frames_count, given),
		cmocka_unit_test(tags_are_no_octets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
