/*
 * The bundle: a newc cpio archive with `nestling.cfg` and the files it names (Linux, Documentation/driver-api/early-
 * userspace/buffer-format). Pure: works on any bytes, trusts none.
 */
#ifndef CORE_BUNDLE_H
#define CORE_BUNDLE_H

#include "core/types.h"

struct bundle { const u8 *data; u64 len; };
struct bundle_file { const char *name; const u8 *data; u64 len; };

/* Check the whole archive once. 0, -EINVAL (err says what is wrong and at which offset; errlen bytes). */
int bundle_open(struct bundle *b, const void *data, u64 len, char *err, size_t errlen);
/* Find a file by name ("./" in front is ignored). 0, -ENOENT. The data points into the archive. */
int bundle_find(const struct bundle *b, const char *name, struct bundle_file *out);

#endif
