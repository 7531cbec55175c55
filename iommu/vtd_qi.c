/*
 * The invalidation queue of one unit (VT-d 3.4, Queued Invalidation Interface).
 *
 * Invariant: a submission returns 0 only after hardware stored its number behind all its descriptors; the queue is empty
 * between submissions, so it never overflows. A queue that stops for good marks the unit broken, and every later
 * submission fails at once: nothing waits twice for dead hardware.
 */
#include "core/console.h"
#include "core/errno.h"
#include "core/time.h"
#include "iommu/vtd.h"

_Static_assert(VTD_QI_ENTRIES * sizeof(struct vtd_entry) == PAGE_SIZE, "the ring is one page");
_Static_assert(VTD_QI_MAX_BATCH + 3 < VTD_QI_ENTRIES, "a batch, its wait and a recovery fit without meeting the head");

#define QI_PAGES_ORDER 1 /* the ring, and a page for the words that hardware stores */
#define DONE_INDEX 0
#define FENCE_INDEX 16   /* a cache line of its own */

int vtd_qi_alloc(struct vtd_unit *u)
{
	u8 *p = pages_alloc(&mem_self, QI_PAGES_ORDER);

	if (!p)
		return -ENOMEM;
	u->qi.ring = (struct vtd_entry *)p;
	u->qi.done = (u32 *)(p + PAGE_SIZE) + DONE_INDEX;
	u->qi.fence = (u32 *)(p + PAGE_SIZE) + FENCE_INDEX;
	return 0;
}

void vtd_qi_free(struct vtd_unit *u)
{
	if (u->qi.ring)
		pages_free(&mem_self, u->qi.ring, QI_PAGES_ORDER);
	u->qi.ring = NULL;
}

void vtd_qi_reset(struct vtd_unit *u)
{
	u->qi.tail = 0;
	u->qi.seq = 0;
	WRITE_ONCE(*u->qi.done, 0);
	vtd_write32(u, VTD_FSTS, VTD_FSTS_QI_ERRORS);
	vtd_write64(u, VTD_IQT, 0);
	vtd_write64(u, VTD_IQA, virt_to_hpa(u->qi.ring).v);
}

struct vtd_entry vtd_qi_fence(const struct vtd_unit *u) { return vtd_inv_wait(virt_to_hpa(u->qi.fence), 0, true); }

static void qi_put(struct vtd_unit *u, struct vtd_entry d)
{
	u->qi.ring[u->qi.tail] = d;
	u->qi.tail = (u->qi.tail + 1) % VTD_QI_ENTRIES;
}

/* Number the end of what was put, and hand all of it to hardware. The ring is write-back memory that hardware snoops. */
static void qi_kick(struct vtd_unit *u)
{
	qi_put(u, vtd_inv_wait(virt_to_hpa(u->qi.done), ++u->qi.seq, false));
	mfence();
	vtd_write64(u, VTD_IQT, FIELD_PREP(VTD_IQ_INDEX, u->qi.tail));
}

static bool qi_is_done(const struct vtd_unit *u) { return READ_ONCE(*u->qi.done) == u->qi.seq; }
static u32 qi_errors(const struct vtd_unit *u) { return vtd_read32(u, VTD_FSTS) & (u32)VTD_FSTS_QI_ERRORS; }

/*
 * Errors stop the queue (VT-d 3.4, Queued Invalidation Errors). A descriptor that hardware does not understand is
 * overwritten by one that it does, the error is acknowledged, and another wait is put behind: what was asked for was not done,
 * but the queue may live on.
 */
static void qi_recover(struct vtd_unit *u, u32 errors)
{
	u32 head = (u32)FIELD_GET(VTD_IQ_INDEX, vtd_read64(u, VTD_IQH)) % VTD_QI_ENTRIES;

	log_limited(8, "IOMMU: unit %u: invalidation queue error (FSTS %x), descriptor %u is %016lx %016lx", u->index, errors, head,
	            u->qi.ring[head].hi, u->qi.ring[head].lo);
	if (errors & VTD_FSTS_IQE)
		u->qi.ring[head] = vtd_qi_fence(u);
	vtd_write32(u, VTD_FSTS, errors);
	qi_kick(u);
	if (wait_until(qi_is_done(u), VTD_TIMEOUT_US))
		return;
	u->broken = true;
	log_line("IOMMU: unit %u: the invalidation queue has stopped", u->index);
}

int vtd_qi_submit(struct vtd_unit *u, const struct vtd_entry *d, u32 n)
{
	u32 errors = 0;

	ASSERT(n > 0 && n <= VTD_QI_MAX_BATCH);
	if (u->broken)
		return -EIO;
	for (u32 i = 0; i < n; i++)
		qi_put(u, d[i]);
	vtd.stats.invalidations += n;
	vtd.stats.waits++;
	qi_kick(u);
	/* The register is read only if the word is not there yet: hardware is usually done by then. */
	bool ended = wait_until(qi_is_done(u) || (errors = qi_errors(u)) != 0, VTD_TIMEOUT_US);
	if (ended && !errors)
		return 0;
	qi_recover(u, errors);
	return -EIO;
}
