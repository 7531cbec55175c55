/*
 * Domains: address spaces for devices, as second-level tables (VT-d 3.4, Second-Level Translation), and the flushes that
 * keep hardware's caches true to them.
 *
 * Invariant: a range is mapped only if it is RAM, lies below the units' width and outside the interrupt range; when
 * unmap returns 0 no unit holds a translation of it. domain_flush alone decides what hardware is told.
 */
#include "core/console.h"
#include "core/errno.h"
#include "iommu/vtd.h"

static const struct ptab_fmt second_level = VTD_SL_FMT;
static struct iommu_domain domains[VTD_MAX_DOMAINS];

void vtd_domains_reset(void)
{
	for (u32 i = 0; i < VTD_MAX_DOMAINS; i++)
		domains[i] = (struct iommu_domain){ .id = (u16)(i + 1) };
}

u32 vtd_domains_count(void)
{
	u32 n = 0;

	for (u32 i = 0; i < VTD_MAX_DOMAINS; i++)
		n += domains[i].used && !domains[i].reserved;
	return n;
}

struct iommu_domain *vtd_domain_create(void *vm, struct mem_owner *owner)
{
	struct iommu_domain *d = NULL;

	for (u32 i = 0; i < VTD_MAX_DOMAINS && !d; i++)
		if (!domains[i].used && !domains[i].tainted && domains[i].id < vtd.max_domains)
			d = &domains[i];
	if (!d || ptab_init(&d->tables, &second_level, vtd.levels, vtd.max_leaf, vtd.incoherent, owner))
		return NULL;
	d->used = true;
	d->vm = vm;
	return d;
}

void vtd_domain_destroy(struct iommu_domain *d)
{
	ASSERT(d->used && d->devices == 0);
	ptab_destroy(&d->tables);
	d->used = d->reserved = false;
	d->vm = NULL;
}

/* ---- flushing ---- */

/* A batch of page-selective descriptors; full = it does not fit, so the whole domain is flushed instead. */
struct batch { struct vtd_entry d[VTD_QI_MAX_BATCH]; u32 n; bool full; };

/* Cover [iova, iova+len) with naturally aligned blocks of 2^am pages (VT-d 3.4, IOTLB Invalidate Descriptor). */
static void batch_range(struct batch *b, const struct vtd_unit *u, u16 id, u64 iova, u64 len)
{
	u32 most = (u32)FIELD_GET(VTD_CAP_MAMV, u->cap);

	while (len && !b->full) {
		u32 am = 63 - (u32)__builtin_clzll(len >> PAGE_SHIFT);
		if (iova)
			am = MIN(am, (u32)__builtin_ctzll(iova >> PAGE_SHIFT));
		am = MIN(am, most);
		b->full = b->n == ARRAY_SIZE(b->d);
		if (!b->full)
			b->d[b->n++] = vtd_inv_iotlb_pages(u->cap, id, IOVA(iova), am);
		iova += PAGE_SIZE << am;
		len -= PAGE_SIZE << am;
	}
}

static int unit_flush(struct vtd_unit *u, u16 id, const struct iommu_range *r, u32 n)
{
	struct batch b = { .full = !(u->cap & VTD_CAP_PSI) };

	for (u32 i = 0; i < n; i++)
		batch_range(&b, u, id, r[i].iova.v, r[i].len);
	if (b.full) {
		b.d[0] = vtd_inv_iotlb_domain(u->cap, id);
		b.n = 1;
	}
	return vtd_qi_submit(u, b.d, b.n);
}

enum change { NOW_PRESENT, NO_LONGER_PRESENT };

/*
 * Tell every unit that uses the domain: a new mapping matters only where absent ones are cached (CAP.CM) or writes linger in a
 * buffer (CAP.RWBF). A failure taints the domain: its id is never given to another.
 */
static int domain_flush(struct iommu_domain *d, enum change change, const struct iommu_range *r, u32 n)
{
	int err = 0;

	for (u32 i = 0; i < vtd.nr_units && n; i++) {
		struct vtd_unit *u = &vtd.units[i];
		if (!d->on_unit[i])
			continue;
		bool cached = change == NO_LONGER_PRESENT || u->cap & VTD_CAP_CM;
		if (u->broken || (cached ? unit_flush(u, d->id, r, n) : vtd_write_buffer_flush(u)))
			err = -EIO;
	}
	d->tainted |= err != 0;
	return err;
}

/* ---- mapping ---- */

static bool overlaps(u64 a, u64 len, u64 b, u64 end) { return a < end && b < a + len; }

static bool iova_ok(const struct iommu_range *r)
{
	u64 reach = BIT(vtd.width);

	return r->len && IS_ALIGNED(r->iova.v | r->len, PAGE_SIZE) && r->iova.v < reach && r->len <= reach - r->iova.v &&
	       !overlaps(r->iova.v, r->len, VTD_MSI_BASE, VTD_MSI_END);
}

static bool range_ok(const struct iommu_range *r)
{
	return iova_ok(r) && IS_ALIGNED(r->hpa.v, PAGE_SIZE) && r->hpa.v + r->len > r->hpa.v && mem_is_ram(r->hpa, r->len) &&
	       r->perm && !(r->perm & ~(IOMMU_READ | IOMMU_WRITE));
}

static u64 leaf_flags(u32 perm)
{
	return vtd.leaf_flags | (perm & IOMMU_READ ? VTD_SL_READ : 0) | (perm & IOMMU_WRITE ? VTD_SL_WRITE : 0);
}

/*
 * Take back the first n ranges of a map call. They were mapped by it, so no leaf must be split, and unmapping cannot fail. What is
 * flushed are the `touched` ones: the range that failed has no entry left, but part of it was present for a while.
 */
static int map_undo(struct iommu_domain *d, const struct iommu_range *r, u32 n, u32 touched)
{
	for (u32 i = 0; i < n; i++) {
		int err = ptab_unmap(&d->tables, r[i].iova.v, r[i].len);
		ASSERT(err == 0);
	}
	return domain_flush(d, NO_LONGER_PRESENT, r, touched);
}

int vtd_domain_map(struct iommu_domain *d, const struct iommu_range *r, u32 n)
{
	int err = 0;
	u32 done;

	for (u32 i = 0; i < n; i++)
		if (!range_ok(&r[i]))
			return -EINVAL;
	for (done = 0; done < n; done++) {
		err = ptab_map(&d->tables, r[done].iova.v, r[done].hpa, r[done].len, leaf_flags(r[done].perm));
		if (err)
			break;
	}
	if (!err)
		err = domain_flush(d, NOW_PRESENT, r, n);
	if (err)
		return map_undo(d, r, done, MIN(done + 1, n)) ? -EIO : err;
	vtd.stats.maps += n;
	return 0;
}

int vtd_domain_unmap(struct iommu_domain *d, const struct iommu_range *r, u32 n)
{
	int err = 0;
	u32 done;

	for (u32 i = 0; i < n; i++)
		if (!iova_ok(&r[i]))
			return -EINVAL;
	for (done = 0; done < n && !err; done++)
		err = ptab_unmap(&d->tables, r[done].iova.v, r[done].len);
	/* Where one failed (no memory to split a large leaf), those before it are gone all the same: flush them. */
	done -= err != 0;
	vtd.stats.unmaps += done;
	int flushed = domain_flush(d, NO_LONGER_PRESENT, r, done);
	return flushed ? flushed : err;
}

int vtd_domain_map_reserved(struct iommu_domain *d, u64 base, u64 len)
{
	const struct iommu_range r = { .iova = IOVA(base), .hpa = HPA(base), .len = len, .perm = IOMMU_READ | IOMMU_WRITE };

	if (!iova_ok(&r))
		return -EINVAL;
	return ptab_map(&d->tables, base, r.hpa, len, leaf_flags(r.perm));
}
