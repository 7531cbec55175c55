/*
 * Command line words and their values (cmdline.h).
 */
#include "guest/lib/cmdline.h"

#include <string.h>

bool cmdline_split(struct cmdline *c, const char *text)
{
	memset(c, 0, sizeof(*c));
	if (strlen(text) >= sizeof(c->text))
		return false;
	strcpy(c->text, text);
	for (char *p = c->text; *p;) {
		if (*p == ' ' || *p == '\t') {
			*p++ = 0;
			continue;
		}
		if (c->nr == CMDLINE_MAX_WORDS)
			return false;
		c->word[c->nr].key = p;
		for (; *p && *p != ' ' && *p != '\t'; p++)
			if (*p == '=' && !c->word[c->nr].value) {
				*p = 0;
				c->word[c->nr].value = p + 1;
			}
		c->nr++;
	}
	return true;
}

const char *cmdline_get(const struct cmdline *c, const char *key)
{
	for (u32 i = c->nr; i-- > 0;)
		if (c->word[i].value && !strcmp(c->word[i].key, key))
			return c->word[i].value;
	return NULL;
}

/* The digit's value, or a number no base allows. */
static u32 digit_value(char d)
{
	if (d >= '0' && d <= '9')
		return (u32)(d - '0');
	if (d >= 'a' && d <= 'f')
		return (u32)(d - 'a') + 10;
	if (d >= 'A' && d <= 'F')
		return (u32)(d - 'A') + 10;
	return 99;
}

/* A number without sign at *s, at most max; moves *s past it. False if there is none or it is too large. */
static bool scan_number(const char **s, u32 base, u64 max, u64 *value)
{
	u32 digits = 0;
	u64 v = 0;

	for (u32 d; (d = digit_value(**s)) < base; (*s)++, digits++) {
		if (v > (max - MIN(d, max)) / base || v * base + d > max)
			return false;
		v = v * base + d;
	}
	*value = v;
	return digits > 0;
}

static bool scan_any_base(const char **s, u64 max, u64 *value)
{
	bool hex = (*s)[0] == '0' && ((*s)[1] == 'x' || (*s)[1] == 'X');

	if (hex)
		*s += 2;
	return scan_number(s, hex ? 16 : 10, max, value);
}

/* Four numbers up to 255 with dots between them, and nothing after. */
static bool scan_ip(const char *s, u64 *value)
{
	u64 v;

	*value = 0;
	for (u32 i = 0; i < 4; i++) {
		if ((i && *s++ != '.') || !scan_number(&s, 10, 255, &v))
			return false;
		*value = *value << 8 | v;
	}
	return *s == 0;
}

/* Item i of a list; false if it is malformed before that, or ends. *at_end: whether it was read to its end. */
static bool scan_list(const char *s, u32 i, u64 *value, bool *at_end)
{
	*at_end = false;
	for (u32 at = 0;; at++) {
		if (!scan_any_base(&s, ~0ull, value) || (*s && *s != ','))
			return false;
		*at_end = *s == 0;
		if (at == i || *at_end)
			return at == i;
		s++;
	}
}

static bool one_of(const char *s, const char *words)
{
	u64 len = strlen(s);

	for (const char *p = words; len && (p = strstr(p, s)); p++)
		if ((p == words || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
	return false;
}

static bool value_fits(const char *s, const struct option *o)
{
	bool at_end;
	u64 v;

	switch (o->kind) {
	case OPTION_NUMBER:
		return scan_any_base(&s, o->max, &v) && *s == 0 && v >= o->min;
	case OPTION_IP:
		return scan_ip(s, &v) && v >= o->min && v <= o->max;
	case OPTION_WORD:
		return one_of(s, o->words);
	default:
		(void)scan_list(s, ~0u, &v, &at_end);
		return at_end;
	}
}

const char *cmdline_check(const struct cmdline *c, const struct option *options, u32 n)
{
	for (u32 i = 0; i < c->nr; i++) {
		u32 k = 0;
		if (!c->word[i].value)
			continue;
		while (k < n && strcmp(options[k].key, c->word[i].key))
			k++;
		if (k == n || !value_fits(c->word[i].value, &options[k]))
			return c->word[i].key;
	}
	return NULL;
}

bool cmdline_is(const struct cmdline *c, const char *key, const char *word)
{
	const char *s = cmdline_get(c, key);
	return s && !strcmp(s, word);
}

u64 cmdline_u64(const struct cmdline *c, const char *key, u64 otherwise)
{
	const char *s = cmdline_get(c, key);
	u64 v;

	return s && scan_any_base(&s, ~0ull, &v) ? v : otherwise;
}

u32 cmdline_ip(const struct cmdline *c, const char *key, u32 otherwise)
{
	const char *s = cmdline_get(c, key);
	u64 v;

	return s && scan_ip(s, &v) ? (u32)v : otherwise;
}

bool cmdline_list(const struct cmdline *c, const char *key, u32 i, u64 *value)
{
	const char *s = cmdline_get(c, key);
	bool at_end;

	return s && scan_list(s, i, value, &at_end);
}
