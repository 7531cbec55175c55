/*
 * libFuzzer: saved states of a port (nic/state.c, nic/igb_state.c). An input is either a record as it stands, or patches to a good record,
 * closed again with its checksum, which is then restored into a VF of the register model.
 *
 * Invariant: a record that is not exactly as it was closed is refused; a refused record changes no register; an accepted one, saved again,
 * is the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/errno.h"
#include "nic/igb_state.h"
#include "nic/state.h"
#include "tests/unit/igb_model.h"
#include "tests/unit/nic_fakes.h"

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define VF 2
static struct igb *pf;
static struct nic_lower lower;
static struct nest_nic_state good;

void panic(const char *fmt, ...)
{
	fprintf(stderr, "panic: %s\n", fmt);
	abort();
}

#define CHECK(cond) do { if (!(cond)) panic("check failed: " #cond); } while (0)

static struct nest_nic_state saved(void)
{
	struct nest_nic_state s;
	memset(&s, 0, sizeof(s));
	CHECK(!igb_state_save(&lower, &s));
	nic_state_seal(&s);
	return s;
}

/* A stopped VF of port 2, with rings that had been running. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	fakes_reset();
	pf = model_igb();
	struct igb_port *p = &pf->port[2];
	struct igb_vf *vf = &pf->vf[VF];
	memcpy(p->mac, (u8[6]){ 0x52, 0x54, 0, 0, 0, 9 }, 6);
	p->vlan = 7;
	lower = (struct nic_lower){ .priv = p };
	vf->state = VF_OWNED;
	vf->port = p;
	p->vf = vf;
	igb_port_forget(p);
	igb_scrub(vf);
	igb_pool_open(vf);
	model_set(MODEL_PF, IGB_RXQ(VF) + IGB_Q_LEN, 256 * 16);
	model_set(MODEL_PF, IGB_RXQ(VF) + IGB_Q_HEAD, 17);
	model_set(MODEL_PF, IGB_RXQ(VF) + IGB_Q_DCTL, (u32)IGB_Q_DCTL_ENABLE);
	CHECK(!igb_state_quiesce(&lower));
	good = saved();
	CHECK(!nic_state_check(&good));
	return 0;
}

static void raw(const u8 *bytes, size_t len)
{
	struct nest_nic_state s;
	memset(&s, 0, sizeof(s));
	memcpy(&s, bytes, MIN(len, sizeof(s)));
	if (!nic_state_check(&s)) { /* then it is closed as we would */
		struct nest_nic_state again = s;
		nic_state_seal(&again);
		CHECK(!memcmp(&s, &again, sizeof(s)));
	}
}

static void restore(const struct nest_nic_state *s)
{
	model_forget();
	int r = igb_state_restore(&lower, s);
	if (r) {
		CHECK(model_writes == 0);
		return;
	}
	struct nest_nic_state again = saved();
	again.totals = s->totals; /* the port's business */
	nic_state_seal(&again);
	CHECK(!memcmp(s, &again, sizeof(again)));
	model_forget();
	CHECK(!igb_state_restore(&lower, &good));
}

static void patched(const u8 *bytes, size_t len)
{
	struct nest_nic_state s = good;
	for (size_t i = 0; i + 3 <= len; i += 3)
		((u8 *)&s)[(bytes[i] | bytes[i + 1] << 8) % sizeof(s)] = bytes[i + 2];
	if (memcmp(&s, &good, sizeof(s)))
		CHECK(nic_state_check(&s) || s.crc != good.crc); /* 24 bits and more of change may meet its checksum */
	nic_state_seal(&s);
	if (!nic_state_check(&s))
		restore(&s);
}

int LLVMFuzzerTestOneInput(const u8 *bytes, size_t len)
{
	if (len && bytes[0] & 1)
		raw(bytes + 1, len - 1);
	else if (len)
		patched(bytes + 1, len - 1);
	return 0;
}
