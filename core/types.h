/*
 * Basic types, one type per address space, bit-field helpers.
 *
 * Invariant: an address always carries its space in its type, so that a guest-physical address cannot be
 * handed to something that wants a host-physical one.
 */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

/* Physical address as this instance sees the machine (for an inner instance: a gpa of its outer). */
typedef struct { u64 v; } hpa_t;
/* Physical address inside one of our VMs. */
typedef struct { u64 v; } gpa_t;
/* Address that a device puts on the bus, before VT-d translates it. */
typedef struct { u64 v; } iova_t;

#define HPA(x) ((hpa_t){ (x) })
#define GPA(x) ((gpa_t){ (x) })
#define IOVA(x) ((iova_t){ (x) })
#define HPA_NONE HPA(~0ull)

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ul
#define PAGE_MASK (PAGE_SIZE - 1)
#define SIZE_2M (1ul << 21)
#define SIZE_1G (1ul << 30)

#define BIT(n) (1ul << (n))
/* Mask of the bits hi..lo, both included. */
#define BITS(hi, lo) ((~0ul >> (63 - (hi))) & (~0ul << (lo)))
/* Value of the field that mask selects in word; and a value moved to that place. */
#define FIELD_GET(mask, word) (((u64)(word) & (mask)) >> __builtin_ctzll(mask))
#define FIELD_PREP(mask, value) (((u64)(value) << __builtin_ctzll(mask)) & (mask))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_DOWN(x, a) ((x) & ~((u64)(a) - 1))
#define ALIGN_UP(x, a) ALIGN_DOWN((u64)(x) + (u64)(a) - 1, a)
#define IS_ALIGNED(x, a) (((u64)(x) & ((u64)(a) - 1)) == 0)
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

#define __inline_always inline __attribute__((always_inline))
#define __must_check __attribute__((warn_unused_result))
#define __noreturn __attribute__((noreturn))
#define __packed __attribute__((__packed__)) /* spelled as in newlib's sys/cdefs.h, which defines it, too */
#define __aligned_to(n) __attribute__((aligned(n)))
#define __printf_like(f, a) __attribute__((format(printf, f, a)))

/* One volatile access: for memory that another CPU, a device or a guest may change. */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* Stop everything with a dump: our own fault only, never a guest's (STYLE: three worlds of failure). */
void panic(const char *fmt, ...) __printf_like(1, 2) __noreturn;

#define ASSERT(cond) \
	do { \
		if (!(cond)) \
			panic("assertion failed: %s (%s:%d)", #cond, __FILE__, __LINE__); \
	} while (0)

#endif
