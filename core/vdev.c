/*
 * Address spaces of virtual devices: which device answers at a port or an address.
 *
 * Invariant: ranges of one space do not overlap. The space's lock covers the look-up only, never a handler, so a handler
 * may take any lock; what a range's `dev` points to outlives the VM's run.
 */
#include <string.h>

#include "core/errno.h"
#include "core/vm.h"

static bool overlap(const struct vdev_range *r, u64 base, u64 len)
{
	return base < r->base + r->len && r->base < base + len;
}

int vdev_add(struct vdev_space *s, u64 base, u64 len, const struct vdev_ops *ops, void *dev)
{
	int err = 0;

	if (!len || base + len < base)
		return -EINVAL;
	spin_lock(&s->lock);
	for (u32 i = 0; i < s->nr && !err; i++)
		if (overlap(&s->range[i], base, len))
			err = -EEXIST;
	if (!err && s->nr == VDEV_MAX_RANGES)
		err = -ENOSPC;
	if (!err)
		s->range[s->nr++] = (struct vdev_range){ .base = base, .len = len, .ops = ops, .dev = dev };
	spin_unlock(&s->lock);
	return err;
}

void vdev_remove(struct vdev_space *s, u64 base)
{
	spin_lock(&s->lock);
	for (u32 i = 0; i < s->nr; i++) {
		if (s->range[i].base == base) {
			s->range[i] = s->range[--s->nr];
			break;
		}
	}
	spin_unlock(&s->lock);
}

bool vdev_claims(struct vdev_space *s, u64 addr, u64 len)
{
	bool found = false;

	spin_lock(&s->lock);
	for (u32 i = 0; i < s->nr && !found; i++)
		found = overlap(&s->range[i], addr, len);
	spin_unlock(&s->lock);
	return found;
}

/* The range that holds all of [addr, addr + size), copied. */
static bool find(struct vdev_space *s, u64 addr, u32 size, struct vdev_range *out)
{
	bool found = false;

	spin_lock(&s->lock);
	for (u32 i = 0; i < s->nr && !found; i++) {
		const struct vdev_range *r = &s->range[i];
		found = addr >= r->base && addr - r->base < r->len && r->len - (addr - r->base) >= size;
		if (found)
			*out = *r;
	}
	spin_unlock(&s->lock);
	return found;
}

static u64 ones(u32 size) { return size >= 8 ? ~0ull : BIT(size * 8) - 1; }

bool vdev_read(struct vdev_space *s, struct vcpu_core *v, u64 addr, u32 size, u64 *value)
{
	struct vdev_range r;

	*value = ones(size);
	if (!find(s, addr, size, &r))
		return false;
	*value &= r.ops->read(r.dev, v, addr - r.base, size);
	return true;
}

bool vdev_write(struct vdev_space *s, struct vcpu_core *v, u64 addr, u32 size, u64 value)
{
	struct vdev_range r;

	if (!find(s, addr, size, &r))
		return false;
	r.ops->write(r.dev, v, addr - r.base, size, value & ones(size));
	return true;
}
