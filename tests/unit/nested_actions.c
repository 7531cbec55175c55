/* What the L1 and the L2 of nested_machine.h do. */
#include "tests/unit/nested_machine.h"

#include <stdio.h>

/* ---- L1 executes ---- */
static int outcome(enum exit_action a)
{
	u64 flags, rip = HW(GUEST_RIP);

	if (killed)
		return KILLED;
	if (vcpu.event.info & INTR_VALID) {
		int is = FAULT(vcpu.event.info & 0xff, vcpu.event.error);

		assert_int_equal(a, EXIT_INJECT);
		vcpu.event = (struct vcpu_event){ 0 };
		return is;
	}
	assert_int_equal(a, EXIT_ADVANCE);
	vcpu_advance(&vcpu);
	assert_int_equal(HW(GUEST_RIP), rip + HW(EXIT_INSN_LEN));
	flags = HW(GUEST_RFLAGS) & (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF);
	if (flags == RFLAGS_CF)
		return FAILED_INVALID;
	if (flags == RFLAGS_ZF)
		return (int)vcpu.nested->v12.INSN_ERROR;
	assert_int_equal(flags, 0);
	return SUCCEEDED;
}

int l1_run(insn_fn fn)
{
	enum exit_action a;

	SET(GUEST_RFLAGS, HW(GUEST_RFLAGS) | RFLAGS_PF | RFLAGS_AF | RFLAGS_SF | RFLAGS_OF | RFLAGS_CF | RFLAGS_ZF); /* all of which must go */
	a = fn(&vcpu);
	if (a == EXIT_RESUME && killed)
		fprintf(stderr, "killed: %s\n", killed_by);
	if (a == EXIT_RESUME)
		return killed ? KILLED : ENTERED;
	return outcome(a);
}

#define INFO_DS FIELD_PREP(BITS(17, 15), 3)
#define INFO_64 FIELD_PREP(BITS(9, 7), 2)
#define INFO_NO_INDEX BIT(22)
#define INFO_NO_BASE BIT(27)
#define INFO_REG BIT(10)

void l1_operand_memory(u64 linear)
{
	SET(EXIT_INSN_INFO, INFO_DS | INFO_64 | INFO_NO_INDEX | INFO_NO_BASE | FIELD_PREP(BITS(31, 28), GPR_RBX));
	SET(EXIT_QUALIFICATION, linear);
}

int l1_pointer(insn_fn fn, u64 pointer)
{
	*l1_word(L1_OPERAND) = pointer;
	l1_operand_memory(L1_OPERAND);
	return l1_run(fn);
}

static void operand_registers(u64 encoding)
{
	vcpu.gpr[GPR_RBX] = encoding;
	SET(EXIT_INSN_INFO, INFO_REG | FIELD_PREP(BITS(31, 28), GPR_RBX) | FIELD_PREP(BITS(6, 3), GPR_RAX));
}

int l1_write_field(u64 encoding, u64 value)
{
	operand_registers(encoding);
	vcpu.gpr[GPR_RAX] = value;
	return l1_run(exit_vmwrite);
}

int l1_read_field(u64 encoding, u64 *value)
{
	int result;

	operand_registers(encoding);
	result = l1_run(exit_vmread);
	*value = vcpu.gpr[GPR_RAX];
	return result;
}

int l1_invalidate(insn_fn fn, u64 type, u64 low, u64 high)
{
	l1_word(L1_OPERAND)[0] = low;
	l1_word(L1_OPERAND)[1] = high;
	l1_operand_memory(L1_OPERAND);
	vcpu.gpr[GPR_RBX] = type;
	return l1_run(fn);
}

void l1_vmxon(void) { assert_int_equal(l1_pointer(exit_vmxon, L1_VMXON), SUCCEEDED); }

void l1_set(enum base b)
{
	static const struct { u32 encoding; u32 offset; } field[] = {
#define FIELD(name, enc) { enc, offsetof(struct vstate, name) },
		VMCS_FIELDS(FIELD)
#undef FIELD
	};
	struct vmcs12 any;
	struct vstate s;

	base_state(&s, &env, b);
	for (u32 i = 0; i < ARRAY_SIZE(field); i++) {
		u64 value = *(u64 *)((u8 *)&s + field[i].offset);

		if (!vmcs12_field(&any, &nested_caps, field[i].encoding) || field_type(field[i].encoding) == FIELD_TYPE_READ_ONLY)
			continue;
		assert_int_equal(l1_write_field(field[i].encoding, value), SUCCEEDED);
		if (!l1_in_64bit() && field_width(field[i].encoding) == 1)
			assert_int_equal(l1_write_field(field[i].encoding | VMCS_ENC_HIGH, value >> 32), SUCCEEDED);
	}
}

void l1_prepare(enum base b)
{
	l1_vmxon();
	assert_int_equal(l1_pointer(exit_vmclear, L1_VMCS), SUCCEEDED);
	assert_int_equal(l1_pointer(exit_vmptrld, L1_VMCS), SUCCEEDED);
	l1_set(b);
}

static void enter(insn_fn fn)
{
	assert_int_equal(l1_run(fn), ENTERED);
	if (!l2_runs())
		fail_msg("entry failure %lx, qualification %lx", v12()->EXIT_REASON, v12()->EXIT_QUALIFICATION);
}

void l1_launch(void) { enter(exit_vmlaunch); }
void l1_resume(void) { enter(exit_vmresume); }

void l1_start_l2(enum base b)
{
	l1_prepare(b);
	l1_launch();
}

void l1_in_protected_mode(void)
{
	SET(GUEST_EFER, 0);
	SET(GUEST_CS_AR, 0xc09b);
	SET(GUEST_ES_LIMIT, 0xffffffff);
	SET(GUEST_DS_LIMIT, 0xffffffff);
	SET(GUEST_SS_LIMIT, 0xffffffff);
	SET(GUEST_CR0, CR0_PE | CR0_NE);
	SET(CR0_READ_SHADOW, CR0_PE | CR0_NE);
}

/* ---- VMCS pages ---- */
struct nest_vmcs_page *l1_page(u64 gpa, enum base b)
{
	struct nest_vmcs_page *p = l1_mem(gpa);
	struct vstate s;

	memset(p, 0, PAGE_SIZE);
	p->revision = NEST_VMCS_REVISION;
	p->delegate = NEST_VMCS_NONE;
	base_state(&s, &env, b);
#define FIELD(name, enc) if (field_type(enc) != FIELD_TYPE_READ_ONLY) p->field[NEST_VMCS_SLOT(enc)] = s.name;
	VMCS_FIELDS(FIELD)
#undef FIELD
	return p;
}

void l1_use_page(u64 gpa)
{
	struct nest_vmx_assist *a = l1_mem(L1_ASSIST);

	assert_int_equal(hc_assist(L1_ASSIST), 0);
	a->vmcs_page = gpa;
}

/* ---- L2 ---- */
struct vmcs12 *v12(void) { return &vcpu.nested->v12; }
bool l2_runs(void) { return nested_in_l2(&vcpu); }

bool l2_exits(const struct l2_exit *e)
{
	assert_true(l2_runs());
	vcpu.event = (struct vcpu_event){ 0 }; /* the entry has taken it */
	SET(EXIT_REASON, e->reason);
	SET(EXIT_QUALIFICATION, e->qualification);
	SET(GUEST_LINEAR_ADDR, e->linear);
	SET(GUEST_PHYSICAL_ADDR, e->physical);
	SET(EXIT_INTR_INFO, e->intr_info);
	SET(EXIT_INTR_ERROR, e->intr_error);
	SET(IDT_VECTORING_INFO, e->idt_info);
	SET(IDT_VECTORING_ERROR, e->idt_error);
	SET(EXIT_INSN_LEN, e->insn_len ? e->insn_len : 3);
	SET(EXIT_INSN_INFO, e->insn_info);
	vcpu.vmcs01.launched = vcpu.loaded->launched = true; /* as vmx/vcpu.c notes it */
	return nested_exit(&vcpu, e->reason);
}

void expect_exit(u64 reason, u64 qualification)
{
	const struct vmcs12 *f = v12();

	assert_false(l2_runs());
	assert_int_equal(f->EXIT_REASON, reason);
	assert_int_equal(f->EXIT_QUALIFICATION, qualification);
	assert_int_equal(HW(GUEST_RIP), f->HOST_RIP);
	assert_int_equal(HW(GUEST_RSP), f->HOST_RSP);
	assert_int_equal(HW(GUEST_RFLAGS), RFLAGS_FIXED);
	assert_int_equal(HW(GUEST_CR3), f->HOST_CR3);
	SET(EXIT_INSN_LEN, 3); /* of L1's next instruction */
}
