/*
 * Vectors: guest segment and descriptor-table registers (SDM 3C, Checks on Guest Segment Registers; the same, Descriptor-Table
 * Registers).
 */
#include "core/x86.h"
#include "tests/conform/vectors.h"

#define AR_S BIT(4)
#define AR_P BIT(7)
#define AR_G BIT(15)
#define AR_DPL3 BITS(6, 5)
#define SET_TYPE(field, type) (s->field = (s->field & ~15ull) | (type))

/* ---- virtual-8086 mode ---- */
#define V86_ROWS(r) \
	ROW("guest.v86.base." #r, "virtual-8086 mode: the base of " #r " must be the selector shifted by 4", ALWAYS) { \
		FAIL(BASE_V86, E_GUEST, s->GUEST_##r##_BASE += 1); \
		FAIL(BASE_V86, E_GUEST, s->GUEST_##r##_BASE |= BIT(32)); \
	} \
	ROW("guest.v86.limit." #r, "virtual-8086 mode: the limit of " #r " must be FFFFH", ALWAYS) { \
		FAIL(BASE_V86, E_GUEST, s->GUEST_##r##_LIMIT = 0xfffe); \
		FAIL(BASE_V86, E_GUEST, s->GUEST_##r##_LIMIT = 0x1ffff); \
	} \
	ROW("guest.v86.rights." #r, "virtual-8086 mode: the access rights of " #r " must be F3H", ALWAYS) { \
		FAIL(BASE_V86, E_GUEST, s->GUEST_##r##_AR = 0x93); \
		FAIL(BASE_V86, E_GUEST, s->GUEST_##r##_AR = 0xfb); \
		FAIL(BASE_V86, E_GUEST, s->GUEST_##r##_AR |= SEG_AR_UNUSABLE); \
	}

static void v86(struct walk *w)
{
	VECTORS(w);

	V86_ROWS(CS) V86_ROWS(SS) V86_ROWS(DS) V86_ROWS(ES) V86_ROWS(FS) V86_ROWS(GS)
}

/* ---- what CS and the data segments share ---- */
#define COMMON_ROWS(r) \
	ROW("guest.s." #r, #r " must be a code or data segment", ALWAYS) \
		FAIL(BASE_32, E_GUEST, OFF(GUEST_##r##_AR, AR_S)); \
	ROW("guest.p." #r, #r " must be present", ALWAYS) \
		FAIL(BASE_LONG, E_GUEST, OFF(GUEST_##r##_AR, AR_P)); \
	ROW("guest.reserved." #r, "access rights of " #r ": bits 11:8 and 31:17 must be 0", ALWAYS) { \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, BIT(8))); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, BIT(11))); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, BIT(17))); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, BIT(31))); \
	} \
	ROW("guest.g." #r, "granularity of " #r " must fit its limit", ALWAYS) { \
		PASS(BASE_32, OFF(GUEST_##r##_AR, AR_G); s->GUEST_##r##_LIMIT = 0xfffff); \
		PASS(BASE_32, s->GUEST_##r##_LIMIT = 0xfffff); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_LIMIT = 0xfffffffe); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_LIMIT = 0xfffff7ff); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_LIMIT = 0); \
		FAIL(BASE_LONG, E_GUEST, OFF(GUEST_##r##_AR, AR_G); s->GUEST_##r##_LIMIT = 0x100000); \
		FAIL(BASE_LONG, E_GUEST, OFF(GUEST_##r##_AR, AR_G); s->GUEST_##r##_LIMIT = BIT(31)); \
	}
#define LOW_BASE_ROW(r) \
	ROW("guest.base-low." #r, "bits 63:32 of the base of " #r " must be 0", ALWAYS) { \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_BASE = BIT(32)); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_BASE = ~0ull << 47); \
	}
/* Unusable: nothing of it is looked at but … */
#define UNUSABLE(r) (s->GUEST_##r##_AR = SEG_AR_UNUSABLE)
#define UNUSABLE_ROW(r) \
	ROW("guest.unusable." #r, "an unusable " #r " is not checked", ALWAYS) { \
		PASS(BASE_LONG, UNUSABLE(r)); \
		PASS(BASE_LONG, UNUSABLE(r); s->GUEST_##r##_LIMIT = 0xfffff7ff; ON(GUEST_##r##_AR, BIT(8) | 8)); \
	}

static void code(struct walk *w)
{
	VECTORS(w);
	bool ug = base_possible(e, BASE_FLAT);

	ROW("guest.type.CS", "the type of CS must be 9, 11, 13 or 15, or 3 for an unrestricted guest", ALWAYS)
		for (u64 type = 0; type < 16; type++)
			FAIL(BASE_LONG, (type & 9) == 9 ? ENTERS : E_GUEST, SET_TYPE(GUEST_CS_AR, type));
	ROW("guest.type.CS-unrestricted", "an unrestricted guest may have CS of type 3", ug, SHORT)
		for (u64 type = 0; type < 16; type++)
			FAIL(BASE_FLAT, (type & 9) == 9 || type == 3 ? ENTERS : E_GUEST, SET_TYPE(GUEST_CS_AR, type));
	COMMON_ROWS(CS)
	LOW_BASE_ROW(CS)
	ROW("guest.dpl.CS-data", "CS of type 3 must have DPL 0", ug, SHORT)
		FAIL(BASE_FLAT, E_GUEST, SET_TYPE(GUEST_CS_AR, 3); ON(GUEST_CS_AR, AR_DPL3));
	ROW("guest.dpl.CS-plain", "the DPL of a non-conforming CS must be that of SS", ALWAYS) {
		PASS(BASE_32, ON(GUEST_CS_AR, AR_DPL3); ON(GUEST_SS_AR, AR_DPL3); ON(GUEST_CS_SEL, 3); ON(GUEST_SS_SEL, 3));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CS_AR, AR_DPL3));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CS_AR, BIT(5)); SET_TYPE(GUEST_CS_AR, 9));
	}
	ROW("guest.dpl.CS-conforming", "the DPL of a conforming CS must not be above that of SS", ALWAYS) {
		PASS(BASE_32, SET_TYPE(GUEST_CS_AR, 13); ON(GUEST_SS_AR, AR_DPL3); ON(GUEST_CS_SEL, 3); ON(GUEST_SS_SEL, 3));
		FAIL(BASE_LONG, E_GUEST, SET_TYPE(GUEST_CS_AR, 15); ON(GUEST_CS_AR, BIT(5)));
	}
	ROW("guest.db.CS", "CS.D must be 0 if CS.L is 1 in IA-32e mode", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CS_AR, BIT(14)));
		PASS(BASE_32, ON(GUEST_CS_AR, BIT(13)));
	}
}

static void stack(struct walk *w)
{
	VECTORS(w);
	bool ug = base_possible(e, BASE_FLAT);

	ROW("guest.rpl.SS", "the RPL of SS must be that of CS", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_CS_SEL, 1));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_SS_SEL, 3); ON(GUEST_SS_AR, AR_DPL3); SET_TYPE(GUEST_CS_AR, 13));
	}
	ROW("guest.rpl.SS-unrestricted", "… but not for an unrestricted guest", ug, SHORT)
		PASS(BASE_FLAT, ON(GUEST_CS_SEL, 1));
	ROW("guest.type.SS", "the type of a usable SS must be 3 or 7", ALWAYS)
		for (u64 type = 0; type < 16; type++)
			FAIL(BASE_LONG, type == 3 || type == 7 ? ENTERS : E_GUEST, SET_TYPE(GUEST_SS_AR, type));
	COMMON_ROWS(SS)
	LOW_BASE_ROW(SS)
	UNUSABLE_ROW(SS)
	ROW("guest.dpl.SS", "the DPL of SS must be its RPL", ALWAYS) {
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_SS_AR, AR_DPL3); SET_TYPE(GUEST_CS_AR, 13));
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_SS_SEL, 1); ON(GUEST_CS_SEL, 1));
	}
	ROW("guest.dpl.SS-unrestricted", "… but not for an unrestricted guest", ug, SHORT)
		PASS(BASE_FLAT, ON(GUEST_SS_SEL, 1));
	ROW("guest.dpl.SS-real", "the DPL of SS must be 0 if CS is of type 3 or CR0.PE is 0", ug, SHORT) {
		FAIL(BASE_REAL, E_GUEST, ON(GUEST_SS_AR, AR_DPL3); ON(GUEST_CS_AR, AR_DPL3));
		FAIL(BASE_FLAT, E_GUEST, SET_TYPE(GUEST_CS_AR, 3); ON(GUEST_SS_AR, AR_DPL3));
	}
}

#define DATA_ROWS(r) \
	ROW("guest.type." #r, "the type of a usable " #r " must be accessed, and readable if code", ALWAYS) \
		for (u64 type = 0; type < 16; type++) \
			FAIL(BASE_LONG, (type & 1) && (!(type & 8) || (type & 2)) ? ENTERS : E_GUEST, SET_TYPE(GUEST_##r##_AR, type)); \
	COMMON_ROWS(r) \
	UNUSABLE_ROW(r) \
	ROW("guest.dpl." #r, "the DPL of " #r " (data or plain code) must not be below its RPL", ALWAYS) { \
		PASS(BASE_LONG, ON(GUEST_##r##_SEL, 3); ON(GUEST_##r##_AR, AR_DPL3)); \
		PASS(BASE_LONG, ON(GUEST_##r##_SEL, 3); SET_TYPE(GUEST_##r##_AR, 15)); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_SEL, 3)); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_SEL, 3); SET_TYPE(GUEST_##r##_AR, 11)); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_SEL, 3); ON(GUEST_##r##_AR, BIT(6))); \
	} \
	ROW("guest.dpl." #r "-unrestricted", "… but not for an unrestricted guest", base_possible(e, BASE_FLAT), SHORT) \
		PASS(BASE_FLAT, ON(GUEST_##r##_SEL, 3));
#define FULL_BASE_ROW(r) \
	ROW("guest.base." #r, "the base of " #r " must be canonical", ALWAYS) { \
		PASS(BASE_LONG, s->GUEST_##r##_BASE = ~0ull << 47); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_BASE = NOT_CANONICAL); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_BASE = BIT(63)); \
	}

void vectors_segments(struct walk *w)
{
	VECTORS(w);

	v86(w);
	code(w);
	stack(w);
	DATA_ROWS(DS) LOW_BASE_ROW(DS)
	DATA_ROWS(ES) LOW_BASE_ROW(ES)
	DATA_ROWS(FS) FULL_BASE_ROW(FS)
	DATA_ROWS(GS) FULL_BASE_ROW(GS)
}

/* ---- TR, LDTR, GDTR, IDTR ---- */
#define SYSTEM_ROWS(r) \
	ROW("guest.ti." #r, "the TI flag of the " #r " selector must be 0", ALWAYS) \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_SEL, 4)); \
	FULL_BASE_ROW(r) \
	ROW("guest.s." #r, #r " must be a system segment", ALWAYS) \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, AR_S)); \
	ROW("guest.p." #r, #r " must be present", ALWAYS) \
		FAIL(BASE_LONG, E_GUEST, OFF(GUEST_##r##_AR, AR_P)); \
	ROW("guest.reserved." #r, "access rights of " #r ": bits 11:8 and 31:17 must be 0", ALWAYS) { \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, BIT(8))); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, BIT(17))); \
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_##r##_AR, BIT(31))); \
	} \
	ROW("guest.g." #r, "granularity of " #r " must fit its limit", ALWAYS) { \
		PASS(BASE_LONG, s->GUEST_##r##_LIMIT = 0xfffff); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_LIMIT = 0x100000); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_LIMIT = 0xfffff7ff; ON(GUEST_##r##_AR, AR_G)); \
	}
#define TABLE_ROWS(r) \
	FULL_BASE_ROW(r) \
	ROW("guest.limit." #r, "bits 31:16 of the " #r " limit must be 0", ALWAYS) { \
		PASS(BASE_LONG, s->GUEST_##r##_LIMIT = 0); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_LIMIT = 0x10000); \
		FAIL(BASE_LONG, E_GUEST, s->GUEST_##r##_LIMIT = BIT(31)); \
	}

void vectors_system(struct walk *w)
{
	VECTORS(w);

	ROW("guest.type.TR", "the type of TR must be 11 in IA-32e mode, 3 or 11 outside", ALWAYS)
		for (u64 type = 0; type < 16; type++) {
			FAIL(BASE_LONG, type == 11 ? ENTERS : E_GUEST, SET_TYPE(GUEST_TR_AR, type));
			FAIL(BASE_32, type == 11 || type == 3 ? ENTERS : E_GUEST, SET_TYPE(GUEST_TR_AR, type));
		}
	SYSTEM_ROWS(TR)
	ROW("guest.usable.TR", "TR must be usable", ALWAYS)
		FAIL(BASE_LONG, E_GUEST, ON(GUEST_TR_AR, SEG_AR_UNUSABLE));
	ROW("guest.type.LDTR", "the type of a usable LDTR must be 2", ALWAYS)
		for (u64 type = 0; type < 16; type++)
			FAIL(BASE_LONG, type == 2 ? ENTERS : E_GUEST, SET_TYPE(GUEST_LDTR_AR, type));
	SYSTEM_ROWS(LDTR)
	UNUSABLE_ROW(LDTR)
	ROW("guest.unusable.LDTR-base", "the base of an unusable LDTR is not checked", ALWAYS)
		PASS(BASE_LONG, UNUSABLE(LDTR); s->GUEST_LDTR_BASE = NOT_CANONICAL; ON(GUEST_LDTR_SEL, 4));
	TABLE_ROWS(GDTR)
	TABLE_ROWS(IDTR)
}
