/*
 * The device's side of a split virtqueue (virtq_dev.h).
 *
 * Invariant: a chain has at most as many descriptors as the queue, counting those of an indirect table, so a loop ends as one too
 * long.
 */
#include "nic/virtq_dev.h"

#include "core/errno.h"
#include "core/x86.h"

#define RING_FLAGS 0
#define RING_IDX 2
#define RING_ENTRIES 4

/* ---- rings ---- */

static int area_set(struct vm *vm, struct vqd_area *a, u64 gpa, u64 len)
{
	u8 probe;
	if (gpa + len < gpa || vm_read(vm, GPA(gpa), &probe, 1) || vm_read(vm, GPA(gpa + len - 1), &probe, 1))
		return -EFAULT;
	hpa_t at = vm_gpa_to_hpa(vm, GPA(gpa), len);
	*a = (struct vqd_area){ gpa, at.v == HPA_NONE.v ? NULL : hpa_to_virt(at) };
	return 0;
}

/* A word both sides use at once, so it is never copied byte by byte. It is aligned: it always lies in one piece. */
static u16 *word(struct virtq_dev *q, const struct vqd_area *a, u32 off)
{
	if (a->at)
		return (u16 *)(a->at + off);
	hpa_t at = vm_gpa_to_hpa(q->vm, GPA(a->gpa + off), sizeof(u16));
	return at.v == HPA_NONE.v ? NULL : hpa_to_virt(at);
}

static int get16(struct virtq_dev *q, const struct vqd_area *a, u32 off, u16 *value)
{
	const u16 *at = word(q, a, off);
	if (!at)
		return -EFAULT;
	*value = READ_ONCE(*at);
	return 0;
}

static int put16(struct virtq_dev *q, const struct vqd_area *a, u32 off, u16 value)
{
	u16 *at = word(q, a, off);
	if (!at)
		return -EFAULT;
	WRITE_ONCE(*at, value);
	return 0;
}

static int get_desc(struct virtq_dev *q, const struct vqd_area *table, u32 i, struct virtq_desc *d)
{
	if (!table->at)
		return vm_read(q->vm, GPA(table->gpa + i * sizeof(*d)), d, sizeof(*d));
	const u64 *word = (const u64 *)(table->at + i * sizeof(*d));
	u64 low = READ_ONCE(word[0]), high = READ_ONCE(word[1]);
	*d = (struct virtq_desc){ low, (u32)high, (u16)(high >> 32), (u16)(high >> 48) };
	return 0;
}

static u32 used_event_at(const struct virtq_dev *q) { return RING_ENTRIES + q->size * 2u; }
static u32 avail_event_at(const struct virtq_dev *q) { return RING_ENTRIES + q->size * (u32)sizeof(struct virtq_used_elem); }

int vqd_start(struct virtq_dev *q, struct vm *vm, u16 size, u64 desc, u64 avail, u64 used, u64 features)
{
	struct virtq_dev n = { .vm = vm, .size = size, .event_idx = features >> VIRTIO_F_RING_EVENT_IDX & 1,
			       .indirect = features >> VIRTIO_F_RING_INDIRECT_DESC & 1 };
	if (!IS_ALIGNED(desc, sizeof(struct virtq_desc)) || !IS_ALIGNED(avail, 2) || !IS_ALIGNED(used, 4))
		return -EINVAL;
	if (area_set(vm, &n.desc, desc, size * sizeof(struct virtq_desc)) || area_set(vm, &n.avail, avail, used_event_at(&n) + 2) ||
	    area_set(vm, &n.ring, used, avail_event_at(&n) + 2))
		return -EFAULT;
	*q = n;
	return 0;
}

int vqd_available(struct virtq_dev *q)
{
	u16 idx;
	if (!q->size)
		return 0;
	int r = get16(q, &q->avail, RING_IDX, &idx);
	if (r)
		return r;
	u16 n = (u16)(idx - q->last_avail);
	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* entries and descriptors are read after the index that names them */
	return n <= q->size ? n : -EINVAL;
}

/* ---- chains ---- */

static int chain_add(struct vqd_chain *c, u32 limit, const struct virtq_desc *d)
{
	if (c->nr == limit || (!(d->flags & VIRTQ_DESC_WRITE) && c->nr != c->nr_read))
		return -EINVAL; /* too long, or a loop; or a readable part behind a writable one */
	c->seg[c->nr++] = (struct vqd_seg){ d->addr, d->len };
	if (d->flags & VIRTQ_DESC_WRITE) {
		c->write_len += d->len;
	} else {
		c->nr_read++;
		c->read_len += d->len;
	}
	return 0;
}

/*
 * Follow a chain through one table of n descriptors. Where the queue's own table ends in an indirect one, that is returned in
 * *indirect (len 0: it does not).
 */
static int chain_follow(struct virtq_dev *q, struct vqd_chain *c, const struct vqd_area *table, u32 n, u32 i,
			struct vqd_seg *indirect)
{
	for (;;) {
		struct virtq_desc d;
		if (i >= n)
			return -EINVAL;
		int r = get_desc(q, table, i, &d);
		if (r)
			return r;
		if (d.flags & VIRTQ_DESC_INDIRECT) {
			if (!indirect || !q->indirect || d.flags & VIRTQ_DESC_NEXT || !d.len || d.len % sizeof(d))
				return -EINVAL;
			*indirect = (struct vqd_seg){ d.addr, d.len };
			return 0;
		}
		r = chain_add(c, q->size, &d);
		if (r || !(d.flags & VIRTQ_DESC_NEXT))
			return r;
		i = d.next;
	}
}

int vqd_peek(struct virtq_dev *q, u32 k, struct vqd_chain *c)
{
	struct vqd_seg indirect = { 0, 0 };
	struct vqd_area table;
	c->nr = c->nr_read = 0;
	c->read_len = c->write_len = 0;
	int r = get16(q, &q->avail, RING_ENTRIES + ((q->last_avail + k) & (q->size - 1u)) * 2u, &c->head);
	if (!r)
		r = chain_follow(q, c, &q->desc, q->size, c->head, &indirect);
	if (r || !indirect.len)
		return r;
	/* A table may be longer than a chain may be, and need not be aligned. */
	u32 n = MIN(indirect.len / (u32)sizeof(struct virtq_desc), 0x10000u);
	r = area_set(q->vm, &table, indirect.gpa, n * sizeof(struct virtq_desc));
	if (r)
		return r;
	if (!IS_ALIGNED(indirect.gpa, sizeof(u64)))
		table.at = NULL;
	return chain_follow(q, c, &table, n, 0, NULL);
}

/* Bytes [off, off + len) of parts [from, to) of a chain. */
static int chain_copy(struct virtq_dev *q, const struct vqd_chain *c, u32 from, u32 to, u64 off, u8 *in, const u8 *out, u64 len)
{
	for (u32 i = from; i < to && len; i++) {
		const struct vqd_seg *s = &c->seg[i];
		if (off >= s->len) {
			off -= s->len;
			continue;
		}
		u64 n = MIN(len, s->len - off);
		if (s->gpa + off < off)
			return -EFAULT;
		int r = in ? vm_read(q->vm, GPA(s->gpa + off), in, n) : vm_write(q->vm, GPA(s->gpa + off), out, n);
		if (r)
			return r;
		if (in)
			in += n;
		else
			out += n;
		len -= n;
		off = 0;
	}
	return len ? -EINVAL : 0;
}

int vqd_read(struct virtq_dev *q, const struct vqd_chain *c, u64 off, void *buf, u64 len)
{
	return chain_copy(q, c, 0, c->nr_read, off, buf, NULL, len);
}

int vqd_write(struct virtq_dev *q, const struct vqd_chain *c, u64 off, const void *buf, u64 len)
{
	return chain_copy(q, c, c->nr_read, c->nr, off, NULL, buf, len);
}

/* ---- giving back ---- */

int vqd_use(struct virtq_dev *q, u32 k, u16 head, u32 len)
{
	u32 at = RING_ENTRIES + ((q->used + k) & (q->size - 1u)) * (u32)sizeof(struct virtq_used_elem);
	struct virtq_used_elem e = { head, len };
	if (!q->ring.at)
		return vm_write(q->vm, GPA(q->ring.gpa + at), &e, sizeof(e));
	struct virtq_used_elem *to = (struct virtq_used_elem *)(q->ring.at + at);
	WRITE_ONCE(to->id, e.id);
	WRITE_ONCE(to->len, e.len);
	return 0;
}

int vqd_publish(struct virtq_dev *q, u32 n)
{
	q->last_avail = (u16)(q->last_avail + n);
	q->used = (u16)(q->used + n);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	return put16(q, &q->ring, RING_IDX, q->used);
}

/* ---- kicks and interrupts ---- */

/* By event index: the last buffer that was taken; its number comes again after 65536 others, and then one kick is for nothing. */
int vqd_suppress(struct virtq_dev *q)
{
	if (!q->size)
		return 0;
	return q->event_idx ? put16(q, &q->ring, avail_event_at(q), (u16)(q->last_avail - 1)) :
	       put16(q, &q->ring, RING_FLAGS, VIRTQ_USED_NO_NOTIFY);
}

/*
 * The number must be that of the moment at which the driver sees our wish. A driver that adds buffers on another CPU at just that
 * moment, each time, can do so until the ring is full; whose index says otherwise breaks the rules.
 */
int vqd_arm(struct virtq_dev *q)
{
	int n = vqd_available(q);
	if (!q->size || n < 0)
		return n;
	for (u32 i = 0; i <= q->size; i++) {
		int r = q->event_idx ? put16(q, &q->ring, avail_event_at(q), (u16)(q->last_avail + n)) :
			put16(q, &q->ring, RING_FLAGS, 0);
		if (r)
			return r;
		mfence();
		int now = vqd_available(q);
		if (now == n || now < 0 || !q->event_idx)
			return now;
		n = now;
	}
	return -EINVAL;
}

bool vqd_interrupts(struct virtq_dev *q)
{
	u16 told = q->told, word;
	q->told = q->used;
	if (!q->size || told == q->used)
		return false;
	mfence();
	if (get16(q, &q->avail, q->event_idx ? used_event_at(q) : RING_FLAGS, &word))
		return false;
	return q->event_idx ? virtq_need_event(word, q->used, told) : !(word & VIRTQ_AVAIL_NO_INTERRUPT);
}
