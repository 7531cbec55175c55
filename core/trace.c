/*
 * The trace's rings (trace.h), and how they leave the machine.
 *
 * Invariant: a ring is written by its own CPU only, with interrupts off, and `head` moves behind the record; a reader on another
 * CPU takes a copy and then sees by `head` whether the record was still the one it wanted. A line fits the console lines of every
 * outer.
 */
#include "core/trace.h"

#include "core/console.h"
#include "core/hypercall.h"
#include "core/percpu.h"

#define LINE_BYTES 264 /* before base64: a multiple of 3 */
#define RECORD_BYTES (4 + 4 * 10)

struct ring {
	struct trace_record *record;
	u64 head;    /* records ever written */
	u64 printed; /* … of these, printed or given up; the printer's */
};

bool trace_on;
static struct ring rings[MAX_CPUS];
static u64 (*offset_of)(const struct vcpu_core *v);
static u32 printing; /* atomic: somebody is */

void trace_init(u64 (*tsc_offset)(const struct vcpu_core *v))
{
	offset_of = tsc_offset;
	for (u32 i = 0; i < nr_cpus; i++) {
		rings[i].record = pages_alloc(&mem_self, TRACE_ORDER);
		if (!rings[i].record) {
			log_line("trace: no memory for the ring of CPU %u: it stays off", i);
			while (i--)
				pages_free(&mem_self, rings[i].record, TRACE_ORDER);
			return;
		}
	}
	trace_on = true;
	log_line("trace: on, the last %u records of each CPU", (unsigned)TRACE_RECORDS);
}

void trace_put(const struct vcpu_core *v, enum trace_kind kind, u32 inner, u64 reason, u64 a, u64 b)
{
	u32 cpu = this_cpu()->index;
	struct ring *r = &rings[cpu];

	r->record[r->head % TRACE_RECORDS] = (struct trace_record){
		.tsc = rdtsc(), .kind = (u8)kind, .level = (u8)outer_depth(), .cpu = (u8)cpu, .vm = (u8)v->vm->id,
		.vcpu = (u8)v->index, .inner = (u8)inner, .reason = (u16)MIN(reason, (u64)0xffff), .a = a, .b = b };
	__atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE);
}

/* ---- printing ---- */

/* The oldest record that is not printed yet, below end; r->printed is behind it. False: none. */
static bool take(struct ring *r, u64 end, struct trace_record *out)
{
	while (r->printed < end) {
		u64 head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
		if (head - r->printed >= TRACE_RECORDS) /* its place may be being written */
			r->printed = head - TRACE_RECORDS + 1;
		*out = r->record[r->printed % TRACE_RECORDS];
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&r->head, __ATOMIC_RELAXED) - r->printed >= TRACE_RECORDS)
			continue;
		r->printed++;
		return true;
	}
	return false;
}

struct line { u32 level, cpu; u64 first; u64 tsc; u32 len; u8 buf[LINE_BYTES]; };

static void base64(char *out, const u8 *in, u32 len)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (u32 i = 0; i < len; i += 3) {
		u32 have = MIN(len - i, 3u);
		u32 bits = (u32)in[i] << 16 | (have > 1 ? (u32)in[i + 1] << 8 : 0) | (have > 2 ? in[i + 2] : 0);
		for (u32 k = 0; k < 4; k++)
			*out++ = k <= have ? digit[bits >> (18 - 6 * k) & 63] : '=';
	}
	*out = 0;
}

static void line_end(struct line *l)
{
	char text[LINE_BYTES / 3 * 4 + 1];

	if (!l->len)
		return;
	base64(text, l->buf, l->len);
	log_line("@trace %u %u %lu %s", l->level, l->cpu, l->first, text);
	l->len = 0;
}

static u32 put_number(u8 *p, u64 n)
{
	u32 len = 0;

	for (; n > 0x7f; n >>= 7)
		p[len++] = (u8)(n | 0x80);
	p[len++] = (u8)n;
	return len;
}

static u32 put_signed(u8 *p, u64 n) { return put_number(p, n << 1 ^ (u64)((s64)n >> 63)); }

/* number: of the record. */
static void line_add(struct line *l, u64 number, const struct trace_record *t)
{
	if (l->len + RECORD_BYTES > LINE_BYTES)
		line_end(l);
	if (!l->len) {
		l->first = number;
		l->tsc = 0;
	}
	u8 *p = l->buf + l->len;
	*p++ = t->kind;
	*p++ = t->vm;
	*p++ = t->vcpu;
	*p++ = t->inner;
	p += put_number(p, t->reason);
	p += put_signed(p, t->tsc - l->tsc);
	p += put_signed(p, t->a);
	p += put_signed(p, t->b);
	l->len = (u32)(p - l->buf);
	l->tsc = t->tsc;
}

static void print_ring(u32 cpu)
{
	static struct line l; /* one printer at a time */
	struct ring *r = &rings[cpu];
	u64 end = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE), next = r->printed;
	struct trace_record t;

	l = (struct line){ .level = outer_depth(), .cpu = cpu };
	while (take(r, end, &t)) {
		if (r->printed - 1 != next) /* a line has no gaps */
			line_end(&l);
		next = r->printed;
		line_add(&l, next - 1, &t);
	}
	line_end(&l);
	log_line("@trace %u %u %lu", l.level, cpu, r->printed);
}

static void print_vm(struct vm *vm, void *arg)
{
	char text[CFG_MAX_CPUS * 20 + 1];
	int n = 0;

	(void)arg;
	text[0] = 0;
	for (u32 i = 0; i < vm->nr_vcpus; i++)
		if (vm_vcpu(vm, i))
			n += format(text + n, sizeof(text) - (size_t)n, " %u:%lx", vm_vcpu(vm, i)->cpu, offset_of(vm_vcpu(vm, i)));
	log_line("@trace vm %u %s%s", vm->id, vm->cfg->name, text);
}

void trace_print(void)
{
	if (!trace_on || __atomic_exchange_n(&printing, 1, __ATOMIC_ACQUIRE))
		return;
	vm_for_each(print_vm, NULL);
	for (u32 i = 0; i < nr_cpus; i++)
		print_ring(i);
	__atomic_store_n(&printing, 0, __ATOMIC_RELEASE);
}
