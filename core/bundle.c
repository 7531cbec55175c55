/*
 * Reading the bundle: a walk over the headers of a newc cpio archive (Linux, initramfs buffer format: "newc" ASCII
 * header of 110 bytes, name and data each padded to 4).
 *
 * Invariant: nothing behind a header is looked at before the header, the name and the data were seen to lie inside the
 * archive; bundle_find walks the same way, so it is safe even on an archive that was never opened.
 */
#include "core/bundle.h"

#include <string.h>

#include "core/console.h"
#include "core/errno.h"

#define HEADER_LEN 110u
#define MAGIC "070701"
#define MAX_FILES 1024u
#define MODE_TYPE 0170000u
#define MODE_REGULAR 0100000u

/* Offsets of the 8-digit fields that we use. */
#define OFF_MODE 14
#define OFF_NLINK 38
#define OFF_FILESIZE 54
#define OFF_NAMESIZE 94

struct entry {
	const char *name;
	const u8 *data;
	u64 len, next; /* next: offset of the header behind it */
	u32 mode, nlink;
};

static bool hex_field(const u8 *p, u32 *out)
{
	u32 v = 0;
	for (int i = 0; i < 8; i++) {
		u8 c = p[i];
		if (c >= '0' && c <= '9')
			c = (u8)(c - '0');
		else if (c >= 'a' && c <= 'f')
			c = (u8)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			c = (u8)(c - 'A' + 10);
		else
			return false;
		v = v << 4 | c;
	}
	*out = v;
	return true;
}

/* Decode the entry at `off`. NULL, or what is wrong with it. */
static const char *entry_at(const struct bundle *b, u64 off, struct entry *e)
{
	u32 size, namesize;

	if (off > b->len || b->len - off < HEADER_LEN)
		return "the archive ends before its trailer (truncated?)";
	const u8 *h = b->data + off;
	if (memcmp(h, MAGIC, 6))
		return "not a newc cpio header (make it with: cpio -o -H newc)";
	if (!hex_field(h + OFF_MODE, &e->mode) || !hex_field(h + OFF_NLINK, &e->nlink) ||
	    !hex_field(h + OFF_FILESIZE, &size) || !hex_field(h + OFF_NAMESIZE, &namesize))
		return "a header field is not a hexadecimal number";
	u64 name = off + HEADER_LEN, data = ALIGN_UP(name + namesize, 4);
	if (namesize < 2 || name + namesize > b->len)
		return "the name does not fit the archive";
	if (data > b->len || b->len - data < size)
		return "the data does not fit the archive (truncated?)";
	e->name = (const char *)b->data + name;
	if (memchr(e->name, 0, namesize) != e->name + namesize - 1)
		return "the name does not end where its length says";
	e->data = b->data + data;
	e->len = size;
	e->next = ALIGN_UP(data + size, 4);
	return NULL;
}

static bool is_trailer(const struct entry *e) { return !strcmp(e->name, "TRAILER!!!"); }
static bool is_file(const struct entry *e) { return (e->mode & MODE_TYPE) == MODE_REGULAR; }
static const char *plain(const char *name) { return strncmp(name, "./", 2) ? name : name + 2; }

/* First regular file of that name in front of offset `end`. */
static bool find_before(const struct bundle *b, u64 end, const char *name, struct entry *e)
{
	for (u64 off = 0; off < end && !entry_at(b, off, e) && !is_trailer(e); off = e->next)
		if (is_file(e) && !strcmp(plain(e->name), plain(name)))
			return true;
	return false;
}

static const char *check_rest(const struct bundle *b, u64 off)
{
	for (; off < b->len; off++)
		if (b->data[off])
			return "something follows the trailer: a second archive?";
	return NULL;
}

static const char *check_file(const struct bundle *b, u64 off, const struct entry *e)
{
	struct entry other;

	if (!is_file(e))
		return NULL;
	if (e->nlink > 1)
		return "hard links are not supported";
	if (find_before(b, off, e->name, &other))
		return "two files have this name";
	return NULL;
}

int bundle_open(struct bundle *b, const void *data, u64 len, char *err, size_t errlen)
{
	struct entry e;
	u32 n = 0;

	*b = (struct bundle){ .data = data, .len = len };
	for (u64 off = 0;; off = e.next) {
		const char *why = entry_at(b, off, &e);
		bool named = !why;
		if (!why && is_trailer(&e)) {
			why = check_rest(b, e.next);
			if (!why)
				return 0;
		} else if (!why) {
			why = ++n > MAX_FILES ? "too many files" : check_file(b, off, &e);
		}
		if (why) {
			format(err, errlen, "bundle: at offset %llu%s%.64s%s: %s", (unsigned long long)off, named ? " (" : "",
			       named ? e.name : "", named ? ")" : "", why);
			*b = (struct bundle){ 0 };
			return -EINVAL;
		}
	}
}

int bundle_find(const struct bundle *b, const char *name, struct bundle_file *out)
{
	struct entry e;

	if (!find_before(b, b->len, name, &e))
		return -ENOENT;
	*out = (struct bundle_file){ .name = plain(e.name), .data = e.data, .len = e.len };
	return 0;
}
