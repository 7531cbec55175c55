/*
 * Which memory of its VM a port's device may reach: lists of guest ranges become lists of host ranges for the lower link.
 *
 * Invariant: the book holds exactly the iova spans that the lower link has mapped for this port; its size bounds what a VM can
 * make us and the IOMMU remember. A list is checked whole before anything is mapped, and a failure leaves nothing of it.
 */
#include <string.h>

#include "core/errno.h"
#include "core/fault.h"
#include "nic/port.h"

int port_dma_init(struct nic_port *p)
{
	p->dma = pages_alloc(&p->vm->owner, DMA_BOOK_ORDER);
	return p->dma ? 0 : -ENOMEM;
}

void port_dma_fini(struct nic_port *p)
{
	pages_free(&p->vm->owner, p->dma, DMA_BOOK_ORDER);
	p->dma = NULL;
}

/* ---- the book ---- */

/* Index of the first span that ends above iova. */
static u32 book_find(const struct nic_dma_book *b, u64 iova)
{
	u32 low = 0, high = b->nr;
	while (low < high) {
		u32 mid = (low + high) / 2;
		if (b->span[mid].iova + b->span[mid].len > iova)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static bool book_touches(const struct nic_dma_book *b, u64 iova, u64 len)
{
	u32 i = book_find(b, iova);
	return i < b->nr && b->span[i].iova < iova + len;
}

static bool book_covers(const struct nic_dma_book *b, u64 iova, u64 len)
{
	u32 i = book_find(b, iova);
	return i < b->nr && b->span[i].iova <= iova && iova + len <= b->span[i].iova + b->span[i].len;
}

static void book_open_gap(struct nic_dma_book *b, u32 i, int by)
{
	memmove(&b->span[(int)i + (by > 0 ? by : 0)], &b->span[(int)i + (by < 0 ? -by : 0)],
		(b->nr - i - (by < 0 ? (u32)-by : 0)) * sizeof(b->span[0]));
	b->nr = (u32)((int)b->nr + by);
}

/* Precondition: touches nothing, and there is room. */
static void book_add(struct nic_dma_book *b, u64 iova, u64 len)
{
	u32 i = book_find(b, iova);
	bool joins_below = i && b->span[i - 1].iova + b->span[i - 1].len == iova;
	bool joins_above = i < b->nr && b->span[i].iova == iova + len;
	if (joins_below) {
		b->span[i - 1].len += len + (joins_above ? b->span[i].len : 0);
		if (joins_above)
			book_open_gap(b, i, -1);
	} else if (joins_above) {
		b->span[i].iova = iova;
		b->span[i].len += len;
	} else {
		book_open_gap(b, i, 1);
		b->span[i] = (struct nic_dma_span){ iova, len };
	}
}

/* Precondition: covered, and there is room for a split. */
static void book_remove(struct nic_dma_book *b, u64 iova, u64 len)
{
	u32 i = book_find(b, iova);
	u64 below = iova - b->span[i].iova, above = b->span[i].len - below - len;
	if (below && above)
		book_open_gap(b, i, 1);
	else if (!below && !above)
		book_open_gap(b, i, -1);
	if (below)
		b->span[i++] = (struct nic_dma_span){ iova - below, below };
	if (above)
		b->span[i] = (struct nic_dma_span){ iova + len, above };
}

/* ---- checking a list ---- */

static bool range_sound(const struct nest_nic_dma *r)
{
	return r->len && !((r->iova | r->len) & PAGE_MASK) && r->iova + r->len > r->iova && !r->reserved;
}

static bool list_overlaps(const struct nest_nic_dma *list, u32 i)
{
	for (u32 k = 0; k < i; k++)
		if (list[k].iova < list[i].iova + list[i].len && list[i].iova < list[k].iova + list[k].len)
			return true;
	return false;
}

/* Bytes from gpa on that are RAM of the VM and contiguous in ours, at most len; 0 = not RAM. */
static u64 ram_run(const struct vm *vm, u64 gpa, u64 len, hpa_t *hpa)
{
	struct ptab_leaf leaf;
	if (!ptab_walk(&vm->ept, gpa, &leaf) || !(leaf.flags & VM_MAP_RAM))
		return 0;
	*hpa = leaf.pa;
	return MIN(len, leaf.size - (gpa & (leaf.size - 1)));
}

static bool is_ram(const struct vm *vm, u64 gpa, u64 len)
{
	hpa_t hpa;
	if (gpa + len < gpa || gpa + len > BIT(48))
		return false;
	for (u64 off = 0, run; off < len; off += run) {
		run = ram_run(vm, gpa + off, len - off, &hpa);
		if (!run)
			return false;
	}
	return true;
}

static int check_map(const struct nic_port *p, const struct nest_nic_dma *list, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		const struct nest_nic_dma *r = &list[i];
		if (!range_sound(r) || r->gpa & PAGE_MASK || !r->perm || r->perm & ~(NEST_DMA_READ | NEST_DMA_WRITE))
			return -EINVAL;
		if (list_overlaps(list, i) || book_touches(p->dma, r->iova, r->len))
			return -EEXIST;
		if (!is_ram(p->vm, r->gpa, r->len))
			return -EFAULT;
	}
	return p->dma->nr + n > DMA_BOOK_MAX ? -ENOMEM : 0;
}

static int check_unmap(const struct nic_port *p, const struct nest_nic_dma *list, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (!range_sound(&list[i]) || list_overlaps(list, i) || !book_covers(p->dma, list[i].iova, list[i].len))
			return -EINVAL;
	return p->dma->nr + n > DMA_BOOK_MAX ? -ENOMEM : 0;
}

/* ---- mapping ---- */

/* A list on its way to the lower link. The first `done` ranges and `done_bytes` of the next are mapped. */
struct feed {
	struct nic_port *p;
	const struct nest_nic_dma *list;
	u32 nr, done;
	u64 done_bytes;
};

static int feed_flush(struct feed *f, u32 range, u64 bytes)
{
	int r = f->nr ? f->p->lower->ops->dma_map(f->p->lower, f->p->dma->scratch, f->nr) : 0;
	if (r)
		return r;
	f->nr = 0;
	f->done = range;
	f->done_bytes = bytes;
	return 0;
}

/* Append a piece, joined to the one before where both addresses go on. */
static int feed_piece(struct feed *f, u32 range, u64 off, hpa_t hpa, u64 len)
{
	struct iommu_range *s = f->p->dma->scratch;
	const struct nest_nic_dma *d = &f->list[range];
	struct iommu_range *last = f->nr ? &s[f->nr - 1] : NULL;
	if (last && last->iova.v + last->len == d->iova + off && last->hpa.v + last->len == hpa.v && last->perm == d->perm) {
		last->len += len;
		return 0;
	}
	if (f->nr == NEST_DMA_MAX) {
		int r = feed_flush(f, range, off);
		if (r)
			return r;
	}
	s[f->nr++] = (struct iommu_range){ IOVA(d->iova + off), hpa, len, d->perm };
	return 0;
}

static void feed_undo(struct feed *f)
{
	struct iommu_range *s = f->p->dma->scratch;
	u32 n = 0;
	for (; n < f->done; n++)
		s[n] = (struct iommu_range){ IOVA(f->list[n].iova), HPA(0), f->list[n].len, 0 };
	if (f->done_bytes)
		s[n++] = (struct iommu_range){ IOVA(f->list[f->done].iova), HPA(0), f->done_bytes, 0 };
	int r = n ? f->p->lower->ops->dma_unmap(f->p->lower, s, n) : 0;
	if (r)
		log_line("nic: port %u of VM %s: a mapping could not be undone (error %d)", f->p->index, f->p->vm->cfg->name, -r);
}

static int feed_all(struct feed *f, u32 n)
{
	for (u32 i = 0; i < n; i++)
		for (u64 off = 0, run; off < f->list[i].len; off += run) {
			hpa_t hpa;
			run = ram_run(f->p->vm, f->list[i].gpa + off, f->list[i].len - off, &hpa);
			int r = run ? feed_piece(f, i, off, hpa, run) : -EFAULT;
			if (r)
				return r;
		}
	return feed_flush(f, n, 0);
}

int port_dma_map(struct nic_port *p, const struct nest_nic_dma *list, u32 n)
{
	struct feed f = { .p = p, .list = list };
	int r = check_map(p, list, n);
	if (r)
		return r;
	r = feed_all(&f, n);
	if (!r && fault_point("port: memory map, after the lower link"))
		r = -ENOMEM;
	if (r) {
		feed_undo(&f);
		return r;
	}
	for (u32 i = 0; i < n; i++)
		book_add(p->dma, list[i].iova, list[i].len);
	return 0;
}

int port_dma_unmap(struct nic_port *p, const struct nest_nic_dma *list, u32 n)
{
	int r = check_unmap(p, list, n);
	if (r)
		return r;
	for (u32 i = 0; i < n; i++)
		p->dma->scratch[i] = (struct iommu_range){ IOVA(list[i].iova), HPA(0), list[i].len, 0 };
	r = p->lower->ops->dma_unmap(p->lower, p->dma->scratch, n);
	if (r)
		return r;
	for (u32 i = 0; i < n; i++)
		book_remove(p->dma, list[i].iova, list[i].len);
	return 0;
}
