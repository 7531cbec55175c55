/*
 * core/insn.c and insn_emulate.c: a table of encodings in the three modes with what they must mean, all truncations, and
 * the emulation against this machine's own processor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/insn.h"
#include "core/x86.h"

#define REG(r, rsize) .reg = (r), .reg_size = (rsize)
#define DEST .mem_is_dest = true
#define IMM(v) .has_imm = true, .imm = (v)
#define A16 .addr_size = 2
#define A32 .addr_size = 4
#define A64 .addr_size = 8

struct encoding {
	enum insn_mode mode;
	u8 n;
	u8 bytes[INSN_MAX + 1];
	struct insn want; /* len is n */
};

#define E(m, ...) (m), sizeof((u8[]){ __VA_ARGS__ }), { __VA_ARGS__ }
#define OP(o, s) .op = (o), .size = (s)

static const struct encoding good[] = {
	/* MOV, all widths, registers, addressing forms */
	{ E(INSN_64, 0x8b, 0x03), { OP(INSN_MOV_LOAD, 4), REG(0, 4), A64 } },                         /* mov eax,[rbx] */
	{ E(INSN_64, 0x48, 0x8b, 0x0b), { OP(INSN_MOV_LOAD, 8), REG(1, 8), A64 } },
	{ E(INSN_64, 0x4c, 0x8b, 0x3b), { OP(INSN_MOV_LOAD, 8), REG(15, 8), A64 } },                  /* mov r15,[rbx] */
	{ E(INSN_64, 0x66, 0x8b, 0x0b), { OP(INSN_MOV_LOAD, 2), REG(1, 2), A64 } },
	{ E(INSN_64, 0x66, 0x48, 0x8b, 0x0b), { OP(INSN_MOV_LOAD, 8), REG(1, 8), A64 } },             /* REX.W wins over 66 */
	{ E(INSN_64, 0x48, 0x66, 0x8b, 0x0b), { OP(INSN_MOV_LOAD, 2), REG(1, 2), A64 } },             /* a REX that is not last is void */
	{ E(INSN_64, 0x8a, 0x23), { OP(INSN_MOV_LOAD, 1), REG(0, 1), .high_byte = true, A64 } },      /* mov ah,[rbx] */
	{ E(INSN_64, 0x40, 0x8a, 0x23), { OP(INSN_MOV_LOAD, 1), REG(4, 1), A64 } },                   /* mov spl,[rbx] */
	{ E(INSN_64, 0x44, 0x8a, 0x23), { OP(INSN_MOV_LOAD, 1), REG(12, 1), A64 } },
	{ E(INSN_64, 0x88, 0x3b), { OP(INSN_MOV_STORE, 1), REG(3, 1), .high_byte = true, DEST, A64 } }, /* mov [rbx],bh */
	{ E(INSN_64, 0x89, 0x05, 1, 2, 3, 4), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } },      /* RIP-relative */
	{ E(INSN_64, 0x89, 0x04, 0x25, 1, 2, 3, 4), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } }, /* SIB, no base */
	{ E(INSN_64, 0x89, 0x04, 0x8b), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } },            /* [rbx+rcx*4] */
	{ E(INSN_64, 0x41, 0x89, 0x44, 0x24, 0x10), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } }, /* [r12+16] */
	{ E(INSN_64, 0x89, 0x45, 0x10), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } },
	{ E(INSN_64, 0x89, 0x83, 1, 2, 3, 4), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } },
	{ E(INSN_64, 0x89, 0x84, 0x8b, 1, 2, 3, 4), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } },
	{ E(INSN_64, 0x89, 0x44, 0x05, 0x08), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } },      /* SIB base 5, mod 1: disp8 */
	{ E(INSN_64, 0x67, 0x89, 0x03), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A32 } },
	{ E(INSN_64, 0x67, 0x89, 0x05, 1, 2, 3, 4), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A32 } },
	/* accumulator and absolute address */
	{ E(INSN_64, 0xa1, 1, 2, 3, 4, 5, 6, 7, 8), { OP(INSN_MOV_LOAD, 4), REG(0, 4), A64 } },
	{ E(INSN_64, 0x48, 0xa3, 1, 2, 3, 4, 5, 6, 7, 8), { OP(INSN_MOV_STORE, 8), REG(0, 8), DEST, A64 } },
	{ E(INSN_64, 0x67, 0xa1, 1, 2, 3, 4), { OP(INSN_MOV_LOAD, 4), REG(0, 4), A32 } },
	{ E(INSN_32, 0xa2, 1, 2, 3, 4), { OP(INSN_MOV_STORE, 1), REG(0, 1), DEST, A32 } },
	{ E(INSN_16, 0xa0, 1, 2), { OP(INSN_MOV_LOAD, 1), REG(0, 1), A16 } },
	/* immediates: sign-extended to the operand's size */
	{ E(INSN_64, 0xc6, 0x03, 0x80), { OP(INSN_MOV_STORE_IMM, 1), .reg_size = 1, DEST, IMM(0x80), A64 } },
	{ E(INSN_64, 0xc7, 0x03, 1, 2, 3, 0x84), { OP(INSN_MOV_STORE_IMM, 4), .reg_size = 4, DEST, IMM(0x84030201), A64 } },
	{ E(INSN_64, 0x48, 0xc7, 0x03, 1, 2, 3, 0x84), { OP(INSN_MOV_STORE_IMM, 8), .reg_size = 8, DEST, IMM(0xffffffff84030201), A64 } },
	{ E(INSN_64, 0x66, 0xc7, 0x03, 1, 0x80), { OP(INSN_MOV_STORE_IMM, 2), .reg_size = 2, DEST, IMM(0x8001), A64 } },
	{ E(INSN_64, 0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8), { OP(INSN_MOV_STORE_IMM, 4), .reg_size = 4, DEST, IMM(0x08070605), A64 } },
	{ E(INSN_64, 0x83, 0x0b, 0xff), { OP(INSN_OR, 4), .reg = 1, .reg_size = 4, DEST, IMM(0xffffffff), A64 } },
	{ E(INSN_64, 0x48, 0x83, 0x23, 0xfe), { OP(INSN_AND, 8), .reg = 4, .reg_size = 8, DEST, IMM(~1ull), A64 } },
	{ E(INSN_64, 0x80, 0x3b, 0x7f), { OP(INSN_CMP, 1), .reg = 7, .reg_size = 1, DEST, IMM(0x7f), A64 } },
	{ E(INSN_64, 0x81, 0x03, 1, 2, 3, 4), { OP(INSN_ADD, 4), .reg = 0, .reg_size = 4, DEST, IMM(0x04030201), A64 } },
	{ E(INSN_64, 0x81, 0x2b, 1, 2, 3, 4), { OP(INSN_SUB, 4), .reg = 5, .reg_size = 4, DEST, IMM(0x04030201), A64 } },
	{ E(INSN_32, 0x81, 0x33, 1, 2, 3, 4), { OP(INSN_XOR, 4), .reg = 6, .reg_size = 4, DEST, IMM(0x04030201), A32 } },
	{ E(INSN_64, 0xf6, 0x03, 1), { OP(INSN_TEST, 1), .reg = 0, .reg_size = 1, DEST, IMM(1), A64 } },
	{ E(INSN_64, 0xf7, 0x0b, 1, 2, 3, 4), { OP(INSN_TEST, 4), .reg = 1, .reg_size = 4, DEST, IMM(0x04030201), A64 } },
	/* arithmetic with registers, both directions */
	{ E(INSN_64, 0x01, 0x0b), { OP(INSN_ADD, 4), REG(1, 4), DEST, A64 } },
	{ E(INSN_64, 0x03, 0x0b), { OP(INSN_ADD, 4), REG(1, 4), A64 } },
	{ E(INSN_64, 0x08, 0x0b), { OP(INSN_OR, 1), REG(1, 1), DEST, A64 } },
	{ E(INSN_64, 0x0a, 0x0b), { OP(INSN_OR, 1), REG(1, 1), A64 } },
	{ E(INSN_64, 0x21, 0x0b), { OP(INSN_AND, 4), REG(1, 4), DEST, A64 } },
	{ E(INSN_64, 0x2b, 0x0b), { OP(INSN_SUB, 4), REG(1, 4), A64 } },
	{ E(INSN_64, 0x31, 0x0b), { OP(INSN_XOR, 4), REG(1, 4), DEST, A64 } },
	{ E(INSN_64, 0x39, 0x0b), { OP(INSN_CMP, 4), REG(1, 4), DEST, A64 } },
	{ E(INSN_64, 0x3b, 0x0b), { OP(INSN_CMP, 4), REG(1, 4), A64 } },
	{ E(INSN_64, 0x84, 0x0b), { OP(INSN_TEST, 1), REG(1, 1), DEST, A64 } },
	{ E(INSN_64, 0x85, 0x0b), { OP(INSN_TEST, 4), REG(1, 4), DEST, A64 } },
	{ E(INSN_64, 0x87, 0x0b), { OP(INSN_XCHG, 4), REG(1, 4), DEST, A64 } },
	{ E(INSN_64, 0xf0, 0x87, 0x0b), { OP(INSN_XCHG, 4), REG(1, 4), DEST, A64 } },
	{ E(INSN_64, 0xf0, 0x48, 0x09, 0x0b), { OP(INSN_OR, 8), REG(1, 8), DEST, A64 } },
	/* extension */
	{ E(INSN_64, 0x0f, 0xb6, 0x23), { OP(INSN_MOVZX, 1), REG(4, 4), A64 } },                      /* movzx esp,byte: no high byte */
	{ E(INSN_64, 0x48, 0x0f, 0xb7, 0x0b), { OP(INSN_MOVZX, 2), REG(1, 8), A64 } },
	{ E(INSN_64, 0x66, 0x0f, 0xbe, 0x0b), { OP(INSN_MOVSX, 1), REG(1, 2), A64 } },
	{ E(INSN_64, 0x0f, 0xbf, 0x0b), { OP(INSN_MOVSX, 2), REG(1, 4), A64 } },
	{ E(INSN_64, 0x48, 0x63, 0x0b), { OP(INSN_MOVSX, 4), REG(1, 8), A64 } },                      /* movsxd */
	{ E(INSN_64, 0x0f, 0xc3, 0x0b), { OP(INSN_MOV_STORE, 4), REG(1, 4), DEST, A64 } },            /* movnti */
	/* strings */
	{ E(INSN_64, 0xaa), { OP(INSN_STOS, 1), .reg_size = 1, DEST, A64 } },
	{ E(INSN_64, 0xf3, 0x48, 0xab), { OP(INSN_STOS, 8), .reg_size = 8, DEST, .rep = true, A64 } },
	{ E(INSN_32, 0xf2, 0x67, 0xa5), { OP(INSN_MOVS, 4), .reg_size = 4, .rep = true, A16 } },
	{ E(INSN_64, 0xa4), { OP(INSN_MOVS, 1), .reg_size = 1, A64 } },
	/* 32-bit code: 40h-4Fh are instructions, 16-bit addressing by prefix */
	{ E(INSN_32, 0x8b, 0x0b), { OP(INSN_MOV_LOAD, 4), REG(1, 4), A32 } },
	{ E(INSN_32, 0x66, 0x8b, 0x0b), { OP(INSN_MOV_LOAD, 2), REG(1, 2), A32 } },
	{ E(INSN_32, 0x67, 0x8b, 0x0e, 1, 2), { OP(INSN_MOV_LOAD, 4), REG(1, 4), A16 } },
	{ E(INSN_32, 0x8b, 0x0d, 1, 2, 3, 4), { OP(INSN_MOV_LOAD, 4), REG(1, 4), A32 } },
	{ E(INSN_32, 0x8a, 0x23), { OP(INSN_MOV_LOAD, 1), REG(0, 1), .high_byte = true, A32 } },
	/* 16-bit code */
	{ E(INSN_16, 0x8b, 0x0f), { OP(INSN_MOV_LOAD, 2), REG(1, 2), A16 } },
	{ E(INSN_16, 0x8b, 0x4f, 1), { OP(INSN_MOV_LOAD, 2), REG(1, 2), A16 } },
	{ E(INSN_16, 0x8b, 0x8f, 1, 2), { OP(INSN_MOV_LOAD, 2), REG(1, 2), A16 } },
	{ E(INSN_16, 0x8b, 0x46, 1), { OP(INSN_MOV_LOAD, 2), REG(0, 2), A16 } },
	{ E(INSN_16, 0x66, 0x8b, 0x0f), { OP(INSN_MOV_LOAD, 4), REG(1, 4), A16 } },
	{ E(INSN_16, 0x67, 0x66, 0x8b, 0x04, 0x24), { OP(INSN_MOV_LOAD, 4), REG(0, 4), A32 } },       /* mov eax,[esp] */
	{ E(INSN_16, 0xc7, 0x06, 1, 2, 3, 4), { OP(INSN_MOV_STORE_IMM, 2), .reg_size = 2, DEST, IMM(0x0403), A16 } },
	/* prefixes that change nothing, up to the longest instruction */
	{ E(INSN_64, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x8b, 0x03), { OP(INSN_MOV_LOAD, 4), REG(0, 4), A64 } },
	{ E(INSN_64, 0xf3, 0x89, 0x03), { OP(INSN_MOV_STORE, 4), REG(0, 4), DEST, A64 } },            /* XRELEASE: a hint */
	{ E(INSN_64, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x8b, 0x03),
	  { OP(INSN_MOV_LOAD, 4), REG(0, 4), A64 } },
};

static const struct { enum insn_mode mode; u8 n; u8 bytes[INSN_MAX + 1]; } refused[] = {
	{ E(INSN_64, 0x8b, 0xc3) },             /* register form */
	{ E(INSN_64, 0x87, 0xc3) },
	{ E(INSN_64, 0x83, 0xc8, 0x01) },
	{ E(INSN_64, 0x0f, 0xb6, 0xc3) },
	{ E(INSN_64, 0x11, 0x0b) },             /* adc, sbb */
	{ E(INSN_64, 0x83, 0x13, 0x01) },
	{ E(INSN_64, 0x83, 0x1b, 0x01) },
	{ E(INSN_64, 0xc7, 0x0b, 1, 2, 3, 4) }, /* C7 /1 */
	{ E(INSN_64, 0xf7, 0x13) },             /* not */
	{ E(INSN_64, 0x04, 0x01) },             /* add al,imm */
	{ E(INSN_64, 0x82, 0x0b, 0x01) },
	{ E(INSN_64, 0x90) },
	{ E(INSN_64, 0x0f, 0x05) },
	{ E(INSN_64, 0x0f, 0x28, 0x03) },       /* movaps */
	{ E(INSN_64, 0x66, 0x0f, 0xc3, 0x0b) },
	{ E(INSN_32, 0x63, 0x0b) },             /* arpl */
	{ E(INSN_32, 0x48, 0x8b, 0x0b) },       /* dec eax */
	{ E(INSN_64, 0xf0, 0x8b, 0x03) },       /* lock without a locked form */
	{ E(INSN_64, 0xf0, 0x03, 0x0b) },
	{ E(INSN_64, 0xf0, 0x39, 0x0b) },
	{ E(INSN_64, 0xf0, 0xaa) },
	{ E(INSN_64, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x8b, 0x03) },
};

/* Exactly n bytes on the heap. */
static int decode(struct insn *i, const u8 *bytes, u32 n, enum insn_mode mode)
{
	u8 *copy = malloc(n ? n : 1);
	memcpy(copy, bytes, n);
	int e = insn_decode(i, copy, n, mode);
	free(copy);
	return e;
}

static void decodes(void **state)
{
	(void)state;
	for (u32 k = 0; k < ARRAY_SIZE(good); k++) {
		const struct encoding *g = &good[k];
		struct insn want = g->want, got;
		u8 more[INSN_MAX];
		want.len = g->n;
		memset(more, 0x90, sizeof(more));
		memcpy(more, g->bytes, g->n);
		int e = decode(&got, more, sizeof(more), g->mode);
		if (e || memcmp(&got, &want, sizeof(got)))
			fail_msg("encoding %u (%02x %02x ...): error %d, len %u op %u size %u reg %u/%u high %d dest %d imm %d %lx rep %d addr %u", k,
				 g->bytes[0], g->bytes[1], e, got.len, got.op, got.size, got.reg, got.reg_size, got.high_byte,
				 got.mem_is_dest, got.has_imm, got.imm, got.rep, got.addr_size);
	}
}

static void asks_for_more_bytes(void **state)
{
	struct insn i;

	(void)state;
	for (u32 k = 0; k < ARRAY_SIZE(good); k++) {
		for (u32 n = 0; n < good[k].n; n++)
			if (decode(&i, good[k].bytes, n, good[k].mode) != -EAGAIN)
				fail_msg("encoding %u cut to %u bytes", k, n);
		assert_int_equal(decode(&i, good[k].bytes, good[k].n, good[k].mode), 0);
	}
}

static void refuses(void **state)
{
	struct insn i;

	(void)state;
	for (u32 k = 0; k < ARRAY_SIZE(refused); k++)
		if (decode(&i, refused[k].bytes, refused[k].n, refused[k].mode) != -EINVAL)
			fail_msg("encoding %u (%02x %02x ...) was not refused", k, refused[k].bytes[0], refused[k].bytes[1]);
}

/* Pseudo-random bytes: an answer, a length inside the bytes, sane sizes; never a read outside. */
static void any_bytes(void **state)
{
	u64 seed = 1;

	(void)state;
	for (u32 k = 0; k < 200000; k++) {
		u8 bytes[INSN_MAX];
		struct insn i;
		for (u32 b = 0; b < sizeof(bytes); b++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			bytes[b] = (u8)(seed >> 56);
		}
		u32 n = (u32)(seed >> 40) % (INSN_MAX + 1);
		if (decode(&i, bytes, n, (enum insn_mode)(k % 3)))
			continue;
		assert_in_range(i.len, 1, n);
		assert_true(i.size == 1 || i.size == 2 || i.size == 4 || i.size == 8);
		assert_in_range(i.reg, 0, 15);
		assert_true(!i.high_byte || i.reg < 4);
	}
}

/* ---- emulation ---- */

struct device { u64 value; u32 reads, writes, size; };

static u64 dev_read(void *arg, u32 size)
{
	struct device *d = arg;
	d->reads++;
	d->size = size;
	return d->value;
}

static void dev_write(void *arg, u32 size, u64 value)
{
	struct device *d = arg;
	d->writes++;
	d->size = size;
	d->value = value;
}

static u64 gpr[16], rflags;
static struct device dev;

static void emulate(const u8 *bytes, u32 n)
{
	struct insn_ctx c = { .gpr = gpr, .rflags = &rflags, .mem_read = dev_read, .mem_write = dev_write, .arg = &dev };
	struct insn i;

	assert_int_equal(insn_decode(&i, bytes, n, INSN_64), 0);
	assert_int_equal(i.len, n);
	dev.reads = dev.writes = 0;
	assert_int_equal(insn_emulate(&i, &c), 0);
	assert_int_equal(dev.size, i.size);
}
#define EMULATE(...) emulate((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

static void moves(void **state)
{
	(void)state;
	for (u32 i = 0; i < 16; i++)
		gpr[i] = 0x1111111111111111ull * i;
	rflags = 0xfff;
	dev.value = 0xffffffff89abcdef;
	EMULATE(0x8b, 0x0b); /* mov ecx: the upper half is cleared */
	assert_int_equal(gpr[1], 0x89abcdef);
	EMULATE(0x66, 0x8b, 0x13); /* mov dx: the rest stays */
	assert_int_equal(gpr[2], 0x222222222222cdef);
	EMULATE(0x8a, 0x33); /* mov dh */
	assert_int_equal(gpr[2], 0x222222222222efef);
	EMULATE(0x0f, 0xbe, 0x33); /* movsx esi, byte */
	assert_int_equal(gpr[6], 0xffffffef);
	EMULATE(0x48, 0x63, 0x33); /* movsxd rsi */
	assert_int_equal(gpr[6], 0xffffffff89abcdef);
	EMULATE(0x0f, 0xb7, 0x33); /* movzx esi, word */
	assert_int_equal(gpr[6], 0xcdef);
	assert_int_equal(dev.reads, 1);
	assert_int_equal(dev.writes, 0);
	EMULATE(0x88, 0x33); /* mov [rbx],dh */
	assert_int_equal(dev.value, 0xef);
	assert_int_equal(dev.reads, 0);
	EMULATE(0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff);
	assert_int_equal(dev.value, ~1ull);
	gpr[5] = 0x5555;
	EMULATE(0x66, 0x87, 0x2b); /* xchg [rbx],bp */
	assert_int_equal(dev.value, 0x5555);
	assert_int_equal(gpr[5], 0xfffe);
	assert_int_equal(dev.reads, 1);
	assert_int_equal(dev.writes, 1);
	assert_int_equal(rflags, 0xfff);
}

/* The same operation by the processor under us: result and status flags (AF is undefined after AND, OR, XOR, TEST). */
#define STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define NATIVE(insn, type) ({ \
	type d_ = (type)a; \
	/* below the red zone of the function around it */ \
	__asm__ volatile("lea -128(%%rsp),%%rsp; " insn " %2,%0; pushfq; pop %1; lea 128(%%rsp),%%rsp" : "+r"(d_), "=r"(*flags) : "r"((type)b) : "cc", "memory"); \
	(u64)d_; })
#define NATIVE_SIZES(insn) (size == 1 ? NATIVE(insn "b", u8) : size == 2 ? NATIVE(insn "w", u16) : \
			    size == 4 ? NATIVE(insn "l", u32) : NATIVE(insn "q", u64))

static u64 native(u8 op, u32 size, u64 a, u64 b, u64 *flags)
{
	switch (op) {
	case 0x00: return NATIVE_SIZES("add");
	case 0x08: return NATIVE_SIZES("or");
	case 0x20: return NATIVE_SIZES("and");
	case 0x28: return NATIVE_SIZES("sub");
	case 0x30: return NATIVE_SIZES("xor");
	case 0x38: return NATIVE_SIZES("cmp");
	default: return NATIVE_SIZES("test");
	}
}

static u64 cut(u64 v, u32 size) { return size == 8 ? v : v & (BIT(size * 8) - 1); }

/* op [rbx],rcx (direction 0) and op rcx,[rbx] (2) for one pair of values. */
static void check_pair(u8 op, u8 direction, u32 size, u64 mem, u64 reg)
{
	u8 code[4] = { size == 2 ? 0x66 : 0x3e, size == 8 ? 0x48 : 0x40, (u8)(op | direction | (size > 1)), 0x0b };
	u64 flags, mask = STATUS & ~(op == 0x08 || op == 0x20 || op == 0x30 || op == 0x84 ? RFLAGS_AF : 0ull);
	u64 want = direction ? native(op, size, reg, mem, &flags) : native(op, size, mem, reg, &flags);
	bool writes = op != 0x38 && op != 0x84;

	dev.value = cut(mem, size);
	gpr[1] = reg;
	rflags = RFLAGS_IF | RFLAGS_FIXED | RFLAGS_CF | RFLAGS_OF;
	emulate(code, sizeof(code));
	if ((rflags & mask) != (flags & mask) || (rflags & ~STATUS) != (RFLAGS_IF | RFLAGS_FIXED))
		fail_msg("op %02x size %u mem %lx reg %lx: flags %lx, the processor says %lx", op, size, mem, reg, rflags, flags);
	assert_int_equal(dev.reads, 1);
	assert_int_equal(dev.writes, writes && !direction);
	if (writes)
		assert_int_equal(cut(direction ? gpr[1] : dev.value, size), cut(want, size));
	else
		assert_int_equal(gpr[1], reg);
}

static void arithmetic_as_the_processor_does_it(void **state)
{
	static const u8 ops[] = { 0x00, 0x08, 0x20, 0x28, 0x30, 0x38, 0x84 };
	static const u64 values[] = { 0, 1, 2, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
				      0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, 0x0123456789abcdef };

	(void)state;
	for (u32 o = 0; o < sizeof(ops); o++)
		for (u32 size = 1; size <= 8; size *= 2)
			for (u32 m = 0; m < ARRAY_SIZE(values); m++)
				for (u32 r = 0; r < ARRAY_SIZE(values); r++)
					for (u8 d = 0; d <= (ops[o] == 0x84 ? 0 : 2); d += 2)
						check_pair(ops[o], d, size, values[m], values[r]);
}

static void strings_are_left_to_the_caller(void **state)
{
	struct insn_ctx c = { .gpr = gpr, .rflags = &rflags, .mem_read = dev_read, .mem_write = dev_write, .arg = &dev };
	struct insn i;

	(void)state;
	assert_int_equal(insn_decode(&i, (const u8[]){ 0xaa }, 1, INSN_64), 0);
	assert_int_equal(insn_emulate(&i, &c), -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes), cmocka_unit_test(asks_for_more_bytes), cmocka_unit_test(refuses), cmocka_unit_test(any_bytes),
		cmocka_unit_test(moves), cmocka_unit_test(arithmetic_as_the_processor_does_it),
		cmocka_unit_test(strings_are_left_to_the_caller),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
