/*
 * The command line: words separated by blanks, either a bare word (a workload) or key=value (an option).
 *
 * Invariant: pure; the line is split once, and after cmdline_check() has accepted it every key is known and every value
 * readable and in its range, so the functions that get one cannot fail.
 */
#ifndef GUEST_LIB_CMDLINE_H
#define GUEST_LIB_CMDLINE_H

#include "core/types.h"

#define CMDLINE_MAX_WORDS 32

struct cmdline {
	char text[512];
	struct { const char *key, *value; } word[CMDLINE_MAX_WORDS]; /* value NULL: a bare word */
	u32 nr;
};

/*
 * Numbers as in C: 10, 0x10. OPTION_LIST: numbers separated by commas. OPTION_IP: 10.0.0.2, as a number 0x0a000002. OPTION_WORD: one of
 * `words`, which are separated by blanks.
 */
enum option_kind { OPTION_NUMBER, OPTION_LIST, OPTION_IP, OPTION_WORD };
struct option {
	const char *key;
	enum option_kind kind;
	u64 min, max;
	const char *words;
};

/* False if it has too many words or is too long. */
bool cmdline_split(struct cmdline *c, const char *text);
/* The key of the first option that is not in the table or whose value does not fit; NULL if all is well. */
const char *cmdline_check(const struct cmdline *c, const struct option *options, u32 n);
/* The value of a key, the last one given; NULL if absent. */
const char *cmdline_get(const struct cmdline *c, const char *key);
/* Values, or what the caller wants where the key is absent. */
u64 cmdline_u64(const struct cmdline *c, const char *key, u64 otherwise);
u32 cmdline_ip(const struct cmdline *c, const char *key, u32 otherwise);
/* Is the value of a key this word? */
bool cmdline_is(const struct cmdline *c, const char *key, const char *word);
/* Item i of a list; false past its end. */
bool cmdline_list(const struct cmdline *c, const char *key, u32 i, u64 *value);

#endif
