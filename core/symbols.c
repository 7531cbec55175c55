/*
 * Names of our own functions, for backtraces.
 *
 * Invariant: symbol_table (core/symbols.awk) is sorted by offset and covers the code only; in the first link pass it
 * is empty.
 */
#include "core/symbols.h"

struct symbol {
	u32 offset; /* of the function from the start of the image */
	u32 name;   /* where its name starts in symbol_names */
};
_Static_assert(sizeof(struct symbol) == 8, "as core/symbols.awk writes it");

extern const struct symbol symbol_table[];
extern const u32 symbol_count;
extern const char symbol_names[];
extern const char __text_start[], __text_end[];

const char *symbol_find(u64 addr, u64 *offset)
{
	u64 at = addr - (u64)__text_start; /* the code comes first in the image */
	u32 low = 0, high = symbol_count;

	if (at >= (u64)(__text_end - __text_start) || !high || symbol_table[0].offset > at)
		return NULL;
	while (high - low > 1) { /* table[low] <= at, and everything from table[high] on is > at */
		u32 mid = low + (high - low) / 2;

		if (symbol_table[mid].offset <= at)
			low = mid;
		else
			high = mid;
	}
	*offset = at - symbol_table[low].offset;
	return symbol_names + symbol_table[low].name;
}
