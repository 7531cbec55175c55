/*
 * Per-CPU blocks, and the descriptor tables that each CPU needs of its own.
 *
 * Invariant: cpus[i].index == i from percpu_init on. NMI, #DF and #MC have stacks of their own (SDM 3A, Interrupt Stack
 * Table): they may come when RSP is unusable.
 */
#include "core/errno.h"
#include "core/exception.h"
#include "core/percpu.h"
#include "core/x86.h"

#define IST_STACKS 3
#define IST_STACK_SIZE 4096

/* SDM 3A, 64-Bit Task State Segment. */
struct tss {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7];
	u64 reserved2;
	u16 reserved3, io_map;
} __packed;
_Static_assert(sizeof(struct tss) == 104 && sizeof(struct tss) <= sizeof(cpus[0].tss), "64-bit TSS");
_Static_assert(offsetof(struct tss, ist) == 36, "64-bit TSS");

/* SDM 3A, Segment Descriptors; the same values that boot/ used, accessed bits set. */
#define DESC_CODE64 0x00af9b000000ffffull
#define DESC_DATA 0x00cf93000000ffffull
#define DESC_TSS_AVAILABLE 0x89ull

extern char boot_stack[]; /* boot/entry.S */

struct cpu cpus[MAX_CPUS];
u32 nr_cpus = 1;

static u8 ist_stacks[MAX_CPUS][IST_STACKS][IST_STACK_SIZE] __aligned_to(16);

int cpu_by_apic_id(u32 apic_id)
{
	for (u32 i = 0; i < nr_cpus; i++)
		if (cpus[i].apic_id == apic_id)
			return (int)i;
	return -ENOENT;
}

static void tss_fill(struct cpu *c)
{
	struct tss *t = (struct tss *)c->tss;

	*t = (struct tss){ .io_map = sizeof(struct tss) }; /* beyond the limit: no I/O permission map */
	for (unsigned i = 0; i < IST_STACKS; i++)
		t->ist[i] = (u64)(ist_stacks[c->index][i] + IST_STACK_SIZE);
}

static void gdt_fill(struct cpu *c)
{
	u64 base = (u64)c->tss;

	c->gdt[0] = 0;
	c->gdt[SEL_CODE / 8] = DESC_CODE64;
	c->gdt[SEL_DATA / 8] = DESC_DATA;
	c->gdt[SEL_TSS / 8] = (sizeof(struct tss) - 1) | FIELD_GET(BITS(23, 0), base) << 16 | DESC_TSS_AVAILABLE << 40 |
			      FIELD_GET(BITS(31, 24), base) << 56;
	c->gdt[SEL_TSS / 8 + 1] = base >> 32;
}

void percpu_init(u32 index, u32 apic_id)
{
	struct cpu *c = &cpus[index];
	struct desc_ptr d = { sizeof(c->gdt) - 1, (u64)c->gdt };

	ASSERT(index < MAX_CPUS);
	c->self = c;
	c->index = index;
	c->apic_id = apic_id;
	if (!c->stack) /* the boot CPU: the others got one before they came */
		c->stack = boot_stack;
	tss_fill(c);
	gdt_fill(c);
	lgdt(&d);
	load_cs(SEL_CODE);
	load_data_segments(SEL_DATA);
	wrmsr(MSR_GS_BASE, (u64)c);
	ltr(SEL_TSS);
	exception_init_cpu();
}
