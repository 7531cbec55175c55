/*
 * State of 82576 VFs on the register model: stop and start in order, save and restore into the same and into another VF, and what no
 * altered record can do.
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

#define ENABLE ((u32)IGB_Q_DCTL_ENABLE)
#define VLAN 7
static const u8 mac[6] = { 0x52, 0x54, 0, 0, 0, 9 };
static struct igb *pf;
static struct nic_lower lower; /* of port 2 */
static struct igb_port *port;

/* Port 2 gets VF v. */
static struct igb_vf *give(u32 v)
{
	struct igb_vf *vf = &pf->vf[v];
	if (port->vf) {
		port->vf->state = VF_FREE;
		port->vf->quiesced = false;
		port->vf->port = NULL;
	}
	vf->state = VF_OWNED;
	vf->port = port;
	vf->quiesced = false;
	port->vf = vf;
	igb_port_forget(port);
	igb_scrub(vf);
	igb_pool_open(vf);
	return vf;
}

static int start(void **state)
{
	(void)state;
	fakes_reset();
	pf = model_igb();
	port = &pf->port[2];
	memcpy(port->mac, mac, 6);
	port->vlan = VLAN;
	lower = (struct nic_lower){ .priv = port };
	return 0;
}

static u32 random32(void)
{
	static u64 x = 88172645463325252ull;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (u32)(x >> 11);
}

static void random_ring(struct igb_ring_state *s, bool tx)
{
	u32 n = random32() % 512 * 8;
	memset(s, 0, sizeof(*s));
	if (n) {
		s->base = ((u64)random32() << 32 | random32()) & IGB_Q_BASE_MEANT;
		s->len = n * IGB_DESC_LEN;
		s->head = random32() % n;
		s->tail = random32() % n;
		s->dctl = random32() & ENABLE;
	}
	s->dctl |= random32() & IGB_Q_DCTL_THRESHOLDS;
	s->dca = random32() & IGB_Q_DCA_MEANT;
	if (tx)
		s->head_wb = (u64)random32() << 32 | random32();
	else
		s->srrctl = (u32)(random32() & IGB_Q_SRRCTL_MEANT);
}

static u32 random_vectors(u32 bytes)
{
	u32 v = 0;
	for (u32 i = 0; i < bytes; i++)
		v |= (random32() % IGB_VF_VECTORS | (random32() & 0x80)) << 8 * i;
	return v;
}

/* Some state that a VF can be in. */
static struct nest_nic_state random_state(void)
{
	struct nest_nic_state rec;
	struct igb_state s;
	memset(&rec, 0, sizeof(rec));
	memset(&s, 0, sizeof(s));
	for (u32 r = 0; r < IGB_VF_RINGS; r++)
		random_ring(&s.ring[r], r >= IGB_VF_QUEUES);
	s.vtivar = random_vectors(4);
	s.vtivar_misc = random_vectors(1);
	for (u32 i = 0; i < IGB_VF_VECTORS; i++)
		s.eitr[i] = (u32)(random32() & IGB_EITR_MEANT);
	s.eiac = random32() & 7;
	s.eiam = random32() & 7;
	s.eims = random32() & 7;
	s.psrtype = (u32)(random32() & IGB_PSRTYPE_MEANT);
	s.v2p = (u32)(random32() & (IGB_V2P_VFU | IGB_V2P_READ_CLEARS));
	s.clear_to_send = random32() & 1;
	for (u32 i = 0; i < IGB_MBX_WORDS; i++)
		s.mbx[i] = random32();
	s.flags = random32() & NEST_CONF_FLAG_ALL_GROUPS;
	s.rate = random32() % (IGB_MAX_RATE + 1);
	s.nr_hashes = random32() % (IGB_MBX_MAX_HASHES + 1);
	for (u32 i = 0; i < s.nr_hashes; i++)
		s.hash[i] = random32() & 0xfff;
	rec.family = 1;
	memcpy(rec.mac, mac, 6);
	rec.vlan = VLAN;
	rec.max_frame = 60 + random32() % 9000;
	rec.nr_groups = random32() % (NEST_MAX_GROUPS + 1);
	for (u32 i = 0; i < rec.nr_groups; i++)
		for (u32 k = 0; k < 6; k++)
			rec.group[i][k] = (u8)(random32() | (k == 0));
	memcpy(rec.body, &s, sizeof(s));
	return rec;
}

static struct nest_nic_state saved(void)
{
	struct nest_nic_state rec;
	memset(&rec, 0, sizeof(rec));
	assert_int_equal(igb_state_save(&lower, &rec), 0);
	return rec;
}

/* ---- stop and start ---- */

/* Receive 0 and transmit 0 run, as igbvf would leave them. */
static void run_two_rings(u32 v)
{
	model_set(MODEL_PF, IGB_RXQ(v) + IGB_Q_LEN, 256 * 16);
	model_set(MODEL_PF, IGB_RXQ(v) + IGB_Q_HEAD, 17);
	model_set(MODEL_PF, IGB_RXQ(v) + IGB_Q_TAIL, 255);
	model_set(MODEL_PF, IGB_RXQ(v) + IGB_Q_DCTL, ENABLE | 0x10000);
	model_set(MODEL_PF, IGB_TXQ(v) + IGB_Q_LEN, 128 * 16);
	model_set(MODEL_PF, IGB_TXQ(v) + IGB_Q_HEAD, 5);
	model_set(MODEL_PF, IGB_TXQ(v) + IGB_Q_TAIL, 9);
	model_set(MODEL_PF, IGB_TXQ(v) + IGB_Q_DCTL, ENABLE);
	model_set(MODEL_PF, IGB_EIMS, 1u | 5u << IGB_VF_CAUSE(v) | 7u << IGB_VF_CAUSE(v + 1));
	model_forget();
}

static void quiesce_stops_and_keeps(void **state)
{
	(void)state;
	give(3);
	run_two_rings(3);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VFRE) & 8, 0);
	assert_int_equal(model_get(MODEL_PF, IGB_VFTE) & 8, 0);
	assert_int_equal(model_get(MODEL_PF, 0xc0c0 + 0x28), 0x10000);
	assert_int_equal(model_get(MODEL_PF, 0xe0c0 + 0x28), 0);
	assert_int_equal(model_get(MODEL_PF, 0xc0c0 + 0x10), 17); /* heads, tails stay */
	assert_int_equal(model_get(MODEL_PF, 0xe0c0 + 0x18), 9);
	assert_int_equal(model_get(MODEL_PF, IGB_EIMS), 1u | 7u << IGB_VF_CAUSE(4)); /* only its own are masked */
	assert_true(pf->vf[3].quiesced);
	assert_int_equal(pf->vf[3].kept.enabled, 1 | 4);
	assert_int_equal(pf->vf[3].kept.causes, 5);
}

static void resume_is_in_portable_order(void **state)
{
	(void)state;
	give(3);
	run_two_rings(3);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	model_set(MODEL_PF, IGB_RXQ(3) + IGB_Q_HEAD, 0);   /* hardware may forget it with the queue */
	model_set(MODEL_PF, IGB_TXQ(3) + IGB_Q_TAIL, 11);  /* the guest queued two more */
	model_forget();
	assert_int_equal(igb_state_resume(&lower), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(3) + IGB_Q_HEAD), 17);
	int head = model_last_write(MODEL_PF, IGB_TXQ(3) + IGB_Q_HEAD), on = model_last_write(MODEL_PF, IGB_TXQ(3) + IGB_Q_DCTL);
	int gate = model_last_write(MODEL_PF, IGB_VFTE), tail = model_last_write(MODEL_PF, IGB_TXQ(3) + IGB_Q_TAIL);
	int unmask = model_last_write(MODEL_PF, IGB_PVTEIMS(3)), kick = model_last_write(MODEL_PF, IGB_PVTEICS(3));
	assert_true(head >= 0 && head < on && on < gate && gate < tail && tail < unmask && unmask < kick);
	assert_int_equal(model_log[tail].value, 11);
	assert_true(model_get(MODEL_PF, IGB_TXQ(3) + IGB_Q_DCTL) & ENABLE);
	assert_false(model_get(MODEL_PF, IGB_RXQ(11) + IGB_Q_DCTL) & ENABLE); /* was off, stays off */
	assert_int_equal(model_last_write(MODEL_PF, IGB_RXQ(11) + IGB_Q_TAIL), -1);
	assert_int_equal(model_get(MODEL_PF, IGB_EIMS) >> IGB_VF_CAUSE(3) & 7, 5);
	assert_true(model_get(MODEL_PF, IGB_VFTE) & model_get(MODEL_PF, IGB_VFRE) & 8);
	assert_false(pf->vf[3].quiesced);
}

static void a_queue_that_does_not_stop_changes_nothing(void **state)
{
	(void)state;
	for (u32 round = 0; round < 2; round++) {
		start(state);
		give(3);
		run_two_rings(3);
		model_stuck_queue = round == 0;
		fake.fault = round ? "igb: queues stop for quiesce" : NULL;
		assert_int_equal(igb_state_quiesce(&lower), -ETIMEDOUT);
		assert_false(pf->vf[3].quiesced);
		assert_true(model_get(MODEL_PF, IGB_VFTE) & model_get(MODEL_PF, IGB_VFRE) & 8);
		assert_int_equal(model_get(MODEL_PF, IGB_RXQ(3) + IGB_Q_DCTL), ENABLE | 0x10000);
		assert_int_equal(model_get(MODEL_PF, IGB_TXQ(3) + IGB_Q_DCTL), ENABLE);
		assert_int_equal(model_get(MODEL_PF, IGB_EIMS), 1u | 5u << IGB_VF_CAUSE(3) | 7u << IGB_VF_CAUSE(4));
		assert_int_equal(model_get(MODEL_PF, IGB_RXQ(3) + IGB_Q_HEAD), 17);
		if (round == 0) /* a head is not written while its queue may run */
			assert_int_equal(model_last_write(MODEL_PF, IGB_RXQ(3) + IGB_Q_HEAD), -1);
	}
}

/* Its pages hold DCTL: a guest that writes ENABLE again and again must not keep its function from being stopped. */
static void enables_again(u32 reg)
{
	static u32 n;
	if (reg == IGB_TXQ(3) + IGB_Q_DCTL && n++ % 3 == 2)
		model_set(MODEL_PF, reg, model_get(MODEL_PF, reg) | ENABLE);
}

static void a_guest_that_enables_its_queue_again_and_again_is_stopped(void **state)
{
	(void)state;
	give(3);
	run_two_rings(3);
	model_on_read = enables_again;
	int r = igb_state_quiesce(&lower);
	model_on_read = NULL;
	assert_int_equal(r, 0);
	assert_int_equal((model_get(MODEL_PF, IGB_VFTE) | model_get(MODEL_PF, IGB_VFRE)) & 8, 0);
}

/* By its mailbox, by a reset: a stopped VF's gates stay shut; what a reset wiped does not come back. */
static void the_guest_cannot_open_the_gates(void **state)
{
	u32 msg[IGB_MBX_WORDS] = { IGB_MSG_RESET };
	(void)state;
	give(3);
	run_two_rings(3);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	igb_mbx_answer(&pf->vf[3], msg);
	assert_int_equal((model_get(MODEL_PF, IGB_VFTE) | model_get(MODEL_PF, IGB_VFRE)) & 8, 0);
	assert_int_equal(igb_reg_write(&lower, IGB_CTRL, (u32)IGB_CTRL_RST), 0);
	assert_int_equal((model_get(MODEL_PF, IGB_VFTE) | model_get(MODEL_PF, IGB_VFRE)) & 8, 0);
	assert_int_equal(igb_state_resume(&lower), 0);
	assert_false(model_get(MODEL_PF, IGB_RXQ(3) + IGB_Q_DCTL) & ENABLE);
	assert_int_equal(model_get(MODEL_PF, IGB_EIMS) >> IGB_VF_CAUSE(3) & 7, 0);
	assert_true(model_get(MODEL_PF, IGB_VFTE) & model_get(MODEL_PF, IGB_VFRE) & 8);
}

static void a_lost_vf_is_left_alone(void **state)
{
	(void)state;
	give(3)->state = VF_LOST;
	model_forget();
	assert_int_equal(igb_state_quiesce(&lower), -EIO);
	assert_int_equal(igb_state_resume(&lower), -EIO);
	assert_int_equal(model_writes, 0);
	pf->vf[3].state = VF_OWNED;
}

/* ---- save and restore ---- */

static void random_states_survive_in_any_vf(void **state)
{
	(void)state;
	for (u32 i = 0; i < 300; i++) {
		struct nest_nic_state rec = random_state(), again;
		give(random32() % IGB_MAX_VFS);
		assert_int_equal(igb_state_quiesce(&lower), 0);
		model_forget();
		assert_int_equal(igb_state_restore(&lower, &rec), 0);
		again = saved();
		assert_memory_equal(&rec, &again, sizeof(rec));
		give(random32() % IGB_MAX_VFS); /* another one, or the same, scrubbed */
		assert_int_equal(igb_state_quiesce(&lower), 0);
		model_forget();
		assert_int_equal(igb_state_restore(&lower, &again), 0);
		assert_int_equal(igb_state_resume(&lower), 0);
		assert_int_equal(igb_state_quiesce(&lower), 0);
		again = saved();
		assert_memory_equal(&rec, &again, sizeof(rec));
		model_forget();
	}
}

static void a_restored_vf_runs_as_the_old_one_did(void **state)
{
	(void)state;
	give(3);
	run_two_rings(3);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	struct nest_nic_state rec = saved();
	give(5);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	model_forget();
	assert_int_equal(igb_state_restore(&lower, &rec), 0);
	assert_int_equal((model_get(MODEL_PF, IGB_VFTE) | model_get(MODEL_PF, IGB_VFRE)) & 0x20, 0);
	assert_false(model_get(MODEL_PF, IGB_RXQ(5) + IGB_Q_DCTL) & ENABLE); /* not before resume */
	assert_int_equal(model_last_write(MODEL_PF, IGB_PVTEIMS(5)), -1);
	assert_int_equal(igb_state_resume(&lower), 0);
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(5) + IGB_Q_DCTL), ENABLE | 0x10000);
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(5) + IGB_Q_HEAD), 17);
	assert_int_equal(model_get(MODEL_PF, IGB_RXQ(5) + IGB_Q_TAIL), 255);
	assert_int_equal(model_get(MODEL_PF, IGB_TXQ(5) + IGB_Q_TAIL), 9);
	assert_int_equal(model_get(MODEL_PF, IGB_EIMS) >> IGB_VF_CAUSE(5) & 7, 5);
	/* The emulated VTIVAR only adds: the row is cleared first. */
	assert_true(model_last_write(MODEL_PF, IGB_IVAR(5)) >= 0);
	assert_true(model_last_write(MODEL_PF, IGB_IVAR(5)) < model_last_write(5, IGB_VTIVAR));
}

static void nothing_is_saved_or_restored_while_it_runs(void **state)
{
	struct nest_nic_state rec = random_state();
	(void)state;
	give(3);
	model_forget();
	assert_int_equal(igb_state_restore(&lower, &rec), -EBUSY);
	assert_int_equal(igb_state_save(&lower, &rec), -EBUSY);
	assert_int_equal(model_writes, 0);
}

static void refused(struct nest_nic_state rec, int error)
{
	model_forget();
	assert_int_equal(igb_state_restore(&lower, &rec), error);
	assert_int_equal(model_writes, 0);
}

static void foreign_records_are_refused(void **state)
{
	struct nest_nic_state good = random_state(), rec;
	(void)state;
	give(3);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	rec = good;
	rec.family = 2;
	refused(rec, -EINVAL);
	rec = good;
	rec.mac[5] ^= 1;
	refused(rec, -EPERM);
	rec = good;
	rec.vlan = 0;
	refused(rec, -EPERM);
	rec = good;
	rec.max_frame = 59;
	refused(rec, -EINVAL);
	rec.max_frame = 9213;
	refused(rec, -EINVAL);
	rec = good;
	rec.nr_groups = 33;
	refused(rec, -EINVAL);
	rec.nr_groups = 1;
	memset(rec.group, 0, sizeof(rec.group)); /* not a group */
	refused(rec, -EINVAL);
	rec.group[0][0] = 1;
	rec.group[1][5] = 1; /* behind the last one */
	refused(rec, -EINVAL);
}

/* One member each that no VF can have. */
static void impossible_values_are_refused(void **state)
{
	struct nest_nic_state good = random_state();
	struct igb_state base, *s;
	(void)state;
	give(3);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	memcpy(&base, good.body, sizeof(base));
	base.ring[1] = (struct igb_ring_state){ .len = 1024, .head = 63, .tail = 63 };
	memcpy(good.body, &base, sizeof(base));
	assert_int_equal(igb_state_restore(&lower, &good), 0);
	struct nest_nic_state rec = good;
	s = (struct igb_state *)rec.body;
#define BAD(change) do { rec = good; change; refused(rec, -EINVAL); } while (0)
	BAD(s->ring[1].len = 1024 + 16);
	BAD(s->ring[1].len = 1 << 20);
	BAD(s->ring[1].head = 64);
	BAD(s->ring[1].tail = 64);
	BAD(s->ring[1].tail = 0xffffffff);
	BAD(s->ring[1].len = 0);
	BAD(s->ring[1] = (struct igb_ring_state){ .dctl = ENABLE });
	BAD(s->ring[1].base |= 0x40);
	BAD(s->ring[1].dctl |= 1u << 26);
	BAD(s->ring[1].srrctl |= 1u << 29);
	BAD(s->ring[1].head_wb = 1);
	BAD(s->ring[2].srrctl = 1);
	BAD(s->ring[3].dca |= 1);
	BAD(s->vtivar = 3);
	BAD(s->vtivar = 4);
	BAD(s->vtivar_misc = 0x100);
	BAD(s->eitr[1] |= 1u << 31);
	BAD(s->eims = 8);
	BAD(s->eiac = 8);
	BAD(s->eiam = 8);
	BAD(s->psrtype = 1);
	BAD(s->v2p = IGB_V2P_REQ);
	BAD(s->clear_to_send = 2);
	BAD(s->flags = NEST_CONF_FLAG_PROMISC);
	BAD(s->rate = 1001);
	BAD(s->nr_hashes = 31);
	BAD(s->nr_hashes = 1; s->hash[0] = 0x1000);
	BAD(s->nr_hashes = 0; s->hash[29] = 1);
	BAD(s->reserved[0] = 1);
	BAD(s->reserved[171] = 1);
	pf->is_model = true; /* it cannot limit a rate */
	BAD(s->rate = 1);
}

/* Writes that may follow from a record for VF v: nobody else's registers. */
static bool own(const struct model_write *w, u32 v)
{
	u32 reg = w->reg;
	if (w->vf != MODEL_PF)
		return w->vf == (int)v && (reg == IGB_VTIVAR || reg == IGB_VTIVAR_MISC || reg == IGB_VF_PSRTYPE);
	if (reg >= IGB_RXQ(0) && reg < IGB_TXQ(IGB_QUEUES))
		return (reg - IGB_RXQ(0)) % (0x40 * IGB_POOLS) / 0x40 == v;
	if (reg >= IGB_MTA(0) && reg < IGB_MTA(IGB_MTA_WORDS))
		return true; /* the table is shared, and a union */
	if (reg == IGB_RTTDQSEL)
		return w->value % IGB_POOLS == v;
	return reg == IGB_RTTBCNRM || reg == IGB_RTTBCNRC || reg == IGB_IVAR(v) || reg == IGB_VMOLR(v) || reg == IGB_PVTEIMC(v) ||
	       reg == IGB_PVTEIAC(v) || reg == IGB_PVTEIAM(v) ||
	       (reg >= IGB_EITR(IGB_VF_CAUSE(v)) && reg < IGB_EITR(IGB_VF_CAUSE(v) + IGB_VF_VECTORS));
}

/* With a checksum that fits, every flipped bit of a record is refused or says something else that is as good. */
static void altered_records_are_refused_or_harmless(void **state)
{
	struct nest_nic_state good = random_state(), rec, again;
	u32 taken = 0, refusals = 0;
	(void)state;
	give(4);
	assert_int_equal(igb_state_quiesce(&lower), 0);
	for (u32 bit = 0; bit < 8 * sizeof(rec); bit++) {
		u32 byte = bit / 8;
		bool ours = byte >= offsetof(struct nest_nic_state, family) && byte < offsetof(struct nest_nic_state, reserved) &&
			    !(byte >= offsetof(struct nest_nic_state, reserved0) && byte < offsetof(struct nest_nic_state, body));
		if (!ours)
			continue; /* the envelope's */
		rec = good;
		((u8 *)&rec)[byte] ^= (u8)(1u << bit % 8);
		model_forget();
		int r = igb_state_restore(&lower, &rec);
		if (r) {
			assert_true(r == -EINVAL || r == -EPERM);
			assert_int_equal(model_writes, 0);
			refusals++;
			continue;
		}
		taken++;
		for (u32 i = 0; i < model_writes; i++)
			assert_true(own(&model_log[i], 4));
		again = saved();
		assert_memory_equal(&rec, &again, sizeof(rec));
	}
	assert_true(taken > 500 && refusals > 2000);
}

#define T(f) cmocka_unit_test_setup(f, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(quiesce_stops_and_keeps),
		T(resume_is_in_portable_order),
		T(a_queue_that_does_not_stop_changes_nothing),
		T(a_guest_that_enables_its_queue_again_and_again_is_stopped),
		T(the_guest_cannot_open_the_gates),
		T(a_lost_vf_is_left_alone),
		T(random_states_survive_in_any_vf),
		T(a_restored_vf_runs_as_the_old_one_did),
		T(nothing_is_saved_or_restored_while_it_runs),
		T(foreign_records_are_refused),
		T(impossible_values_are_refused),
		T(altered_records_are_refused_or_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
