/*
 * PE-CSP PDUs (pe_csp_pdu.h). Layouts of the values, as unverified as the numbers (pe_csp_codes.h):
 *
 *   command   operation 1 | result 1 | transaction 2
 *   port      kind 1 | reserved 1 | port 4
 *   E-CIDs    entries of 4 bytes: action 4 bits | reserved 6 | GRP 2 | E-CID 20
 */
#include "nic/pe_csp_pdu.h"

#include "nic/etag.h"
#include "nic/pe_csp_codes.h"
#include "nic/tlv.h"

#define COMMAND_LEN 4u
#define PORT_LEN 6u
#define ENTRY_LEN 4u
#define ACTION BITS(31, 28)
#define GRP BITS(21, 20)
#define ECID BITS(19, 0)

static const u8 command_type[PE_CSP_NR_COMMANDS] = {
	[PE_CSP_OPEN] = PE_CSP_TLV_OPEN,
	[PE_CSP_PORT_CREATE] = PE_CSP_TLV_PORT_CREATE,
	[PE_CSP_PORT_DELETE] = PE_CSP_TLV_PORT_DELETE,
	[PE_CSP_ECHANNEL_REGISTER] = PE_CSP_TLV_ECHANNEL_REGISTER,
};

/* ---- what a PDU must be, whoever made it ---- */

static bool ecid_ok(const struct pe_csp_ecid *e)
{
	return e->grp <= 3 && e->ecid && e->ecid <= ETAG_ECID_MAX && e->action < PE_CSP_NR_ACTIONS;
}

/* Of an extended port with its one E-CID. */
static bool created_ok(const struct pe_csp *m)
{
	return m->nr_ecids == 1 && !m->ecid[0].grp && m->ecid[0].action != PE_CSP_REMOVE;
}

static bool ecids_ok(const struct pe_csp *m)
{
	for (u32 i = 0; i < m->nr_ecids; i++)
		if (!ecid_ok(&m->ecid[i]))
			return false;
	if (m->command == PE_CSP_PORT_CREATE && m->response && m->result == PE_CSP_SUCCESS)
		return created_ok(m);
	if (m->command == PE_CSP_ECHANNEL_REGISTER && !m->response)
		return m->nr_ecids;
	return !m->nr_ecids;
}

static bool pdu_ok(const struct pe_csp *m)
{
	if (m->command >= PE_CSP_NR_COMMANDS || m->result >= PE_CSP_NR_RESULTS || m->nr_ecids > PE_CSP_MAX_ECIDS)
		return false;
	if (!m->response && m->result != PE_CSP_SUCCESS)
		return false;
	if (m->has_port ? m->kind >= PE_CSP_NR_KINDS : m->kind || m->port)
		return false;
	return m->has_port == (m->command != PE_CSP_OPEN) && ecids_ok(m);
}

/* ---- building ---- */

static int command_put(struct tlv_out *out, const struct pe_csp *m)
{
	u8 *p = tlv_add(out, command_type[m->command], COMMAND_LEN);
	if (!p)
		return -ENOSPC;
	p[0] = m->response ? PE_CSP_OP_RESPONSE : PE_CSP_OP_REQUEST;
	p[1] = m->result;
	be16_put(p + 2, m->transaction);
	return 0;
}

static int port_put(struct tlv_out *out, const struct pe_csp *m)
{
	u8 *p = tlv_add(out, PE_CSP_TLV_PORT, PORT_LEN);
	if (!p)
		return -ENOSPC;
	p[0] = m->kind;
	p[1] = 0;
	be32_put(p + 2, m->port);
	return 0;
}

static int ecids_put(struct tlv_out *out, const struct pe_csp *m)
{
	u8 *p = tlv_add(out, PE_CSP_TLV_ECIDS, m->nr_ecids * ENTRY_LEN);
	if (!p)
		return -ENOSPC;
	for (u32 i = 0; i < m->nr_ecids; i++, p += ENTRY_LEN)
		be32_put(p, (u32)(FIELD_PREP(ACTION, m->ecid[i].action) | FIELD_PREP(GRP, m->ecid[i].grp) | m->ecid[i].ecid));
	return 0;
}

int pe_csp_build(u8 *pdu, u32 room, const struct pe_csp *m)
{
	struct tlv_out out = { pdu, room, 0 };
	int r = pdu_ok(m) ? command_put(&out, m) : -EINVAL;
	if (!r && m->has_port)
		r = port_put(&out, m);
	if (!r && m->nr_ecids)
		r = ecids_put(&out, m);
	if (r)
		return r;
	return tlv_add(&out, PE_CSP_TLV_END, 0) ? (int)out.len : -ENOSPC;
}

/* ---- parsing ---- */

/* The command with that type, or PE_CSP_NR_COMMANDS. */
static u8 command_of(u8 type)
{
	u8 c = 0;
	while (c < PE_CSP_NR_COMMANDS && command_type[c] != type)
		c++;
	return c;
}

static int command_get(const struct tlv *t, struct pe_csp *m)
{
	u8 c = command_of(t->type);
	if (c == PE_CSP_NR_COMMANDS)
		return -ENOTSUP;
	if (t->len != COMMAND_LEN || t->value[0] > PE_CSP_OP_RESPONSE)
		return -EINVAL;
	m->command = c;
	m->response = t->value[0] == PE_CSP_OP_RESPONSE;
	m->result = t->value[1];
	m->transaction = be16_get(t->value + 2);
	m->has_port = false;
	m->kind = 0;
	m->port = 0;
	m->nr_ecids = 0;
	return 0;
}

static int port_get(const struct tlv *t, struct pe_csp *m)
{
	if (m->has_port || t->len != PORT_LEN)
		return -EINVAL;
	m->has_port = true;
	m->kind = t->value[0];
	m->port = be32_get(t->value + 2);
	return 0;
}

static int ecids_get(const struct tlv *t, struct pe_csp *m)
{
	u32 n = t->len / ENTRY_LEN;
	if (m->nr_ecids || !n || t->len % ENTRY_LEN)
		return -EINVAL;
	if (n > PE_CSP_MAX_ECIDS)
		return -ENOSPC;
	for (; m->nr_ecids < n; m->nr_ecids++) {
		u32 word = be32_get(t->value + m->nr_ecids * ENTRY_LEN);
		m->ecid[m->nr_ecids] = (struct pe_csp_ecid){ (u8)FIELD_GET(GRP, word), word & ECID, (u8)FIELD_GET(ACTION, word) };
	}
	return 0;
}

static int get(const struct tlv *t, struct pe_csp *m)
{
	if (command_of(t->type) != PE_CSP_NR_COMMANDS)
		return -EINVAL; /* one to a PDU */
	switch (t->type) {
	case PE_CSP_TLV_PORT: return port_get(t, m);
	case PE_CSP_TLV_ECIDS: return ecids_get(t, m);
	default: return 0;
	}
}

int pe_csp_parse(const u8 *pdu, u32 len, struct pe_csp *m)
{
	struct tlv_in in = { pdu, len };
	struct tlv t;
	int more, r;
	if (tlv_next(&in, &t) <= 0)
		return -EINVAL;
	r = command_get(&t, m);
	while (!r && (more = tlv_next(&in, &t)) != 0)
		r = more < 0 ? more : get(&t, m);
	return r ? r : pdu_ok(m) ? 0 : -EINVAL;
}
