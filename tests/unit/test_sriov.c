/*
 * Enabling virtual functions, on a configuration space as the specification describes it: order of writes, ARI, buses that are not
 * reachable, BARs that firmware left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/time.h"
#include "nic/sriov.h"

#define PF RID(1, 0, 0)
#define BRIDGE RID(0, 1, 0)
#define CAP 0x160
#define EXP 0x40

static u8 space[2][4096]; /* bridge, PF */
static struct { rid_t rid; u16 off; u32 value; } writes[64];
static u32 nr_writes;
static bool has_sriov, has_ari, has_bars;
static struct pci_dev bridge = { .rid = { 0x0008 }, .header_type = 1, .secondary = 1, .subordinate = 1, .parent = -1 };
static struct pci_dev function = { .rid = { 0x0100 }, .parent = 0 };

static u8 *at(rid_t r, u16 off) { return &space[r.v == PF.v][off]; }
u16 pci_read16(rid_t r, u16 off) { return (u16)(at(r, off)[0] | at(r, off)[1] << 8); }
u32 pci_read32(rid_t r, u16 off) { return pci_read16(r, off) | (u32)pci_read16(r, (u16)(off + 2)) << 16; }

static void put16(rid_t r, u16 off, u32 v)
{
	at(r, off)[0] = (u8)v;
	at(r, off)[1] = (u8)(v >> 8);
}

void pci_write16(rid_t r, u16 off, u16 v)
{
	writes[nr_writes].rid = r;
	writes[nr_writes].off = off;
	writes[nr_writes++].value = v;
	put16(r, off, v);
	/* the first VF's offset depends on the hierarchy: the next bus without ARI */
	if (r.v == PF.v && off == CAP + 8)
		put16(PF, CAP + 0x14, v & 1 << 4 ? 0x80 : 0x180);
}

void pci_write32(rid_t r, u16 off, u32 v)
{
	put16(r, off, v);
	put16(r, (u16)(off + 2), v >> 16);
}

u16 pci_find_cap(rid_t r, u8 id) { return r.v == BRIDGE.v && id == PCI_CAP_ID_EXP ? EXP : 0; }
u16 pci_find_ext_cap(rid_t r, u16 id)
{
	if (r.v != PF.v)
		return 0;
	return id == PCI_EXT_CAP_ID_SRIOV && has_sriov ? CAP : id == PCI_EXT_CAP_ID_ARI && has_ari ? 0x150 : 0;
}
const struct pci_dev *pci_get(u32 i) { return i ? &function : &bridge; }
const struct pci_dev *pci_find_rid(rid_t r) { return r.v == PF.v ? &function : &bridge; }
int pci_bar(rid_t r, u16 off, hpa_t *base, u64 *size)
{
	(void)r;
	if (!has_bars || (off != CAP + 0x24 && off != CAP + 0x30))
		return -EINVAL;
	*base = HPA(off == CAP + 0x24 ? 0x800020000 : 0x800000000);
	*size = 0x4000;
	return 0;
}
static u32 acs_before; /* writes when the ports above were told to isolate; 0: never */
void pci_acs_enable(rid_t r)
{
	assert_int_equal(r.v, PF.v);
	acs_before = nr_writes + 1;
}
u64 tsc_khz(void) { return 1000; }
u64 wait_begin(void) { return rdtsc(); }
void wait_end(u64 start) { (void)start; }
void wait_pause(u32 *polls) { ++*polls; }

static int start(void **state)
{
	(void)state;
	memset(space, 0, sizeof(space));
	nr_writes = acs_before = 0;
	has_sriov = has_ari = has_bars = true;
	function.parent = 0;
	bridge.subordinate = 1;
	put16(BRIDGE, EXP + 2, 2);         /* version 2 */
	put16(BRIDGE, EXP + 0x24, 1 << 5); /* forwards ARI */
	put16(PF, CAP + 0xe, 8);
	put16(PF, CAP + 0x16, 2);
	put16(PF, CAP + 0x24, 0xc);        /* 64 bits, prefetchable */
	put16(PF, CAP + 0x30, 0xc);
	return 0;
}

static int write_of(rid_t r, u16 off, u32 mask)
{
	for (u32 i = 0; i < nr_writes; i++)
		if (writes[i].rid.v == r.v && writes[i].off == off && (writes[i].value & mask) == mask)
			return (int)i;
	return -1;
}

static void enabled_with_ari(void **state)
{
	struct sriov s;
	const char *why = NULL;
	(void)state;
	assert_int_equal(sriov_enable(&s, PF, 7, &why), 0);
	assert_int_equal(s.nr_vfs, 7);
	assert_int_equal(sriov_vf_rid(&s, 0).v, 0x180);
	assert_int_equal(sriov_vf_rid(&s, 6).v, 0x18c);
	assert_int_equal(s.bar[0].v, 0x800020000);
	assert_int_equal(s.bar[3].v, 0x800000000);
	assert_int_equal(s.bar[1].v, HPA_NONE.v);
	assert_int_equal(pci_read16(PF, CAP + 8), 1 | 8 | 16); /* enabled, decoding, ARI */
	assert_int_equal(pci_read16(PF, CAP + 0x10), 7);
	assert_int_equal(pci_read16(PF, CAP + 0x20), 1);        /* 4 KiB pages */
	int ari = write_of(BRIDGE, EXP + 0x28, 1 << 5), number = write_of(PF, CAP + 0x10, 7), on = write_of(PF, CAP + 8, 1);
	assert_true(ari >= 0 && number > ari && on > number);
	assert_in_range(acs_before, 1, on + 1);
	sriov_settle(&s);
	assert_true(rdtsc() >= s.ready_tsc);
	sriov_disable(PF);
	assert_int_equal(pci_read16(PF, CAP + 8), 0);
}

static void without_ari_on_the_next_bus(void **state)
{
	struct sriov s;
	const char *why = NULL;
	(void)state;
	put16(BRIDGE, EXP + 0x24, 0);
	assert_int_equal(sriov_enable(&s, PF, 7, &why), -ENODEV); /* bus 2 is not behind the bridge */
	assert_non_null(strstr(why, "bridge"));
	assert_int_equal(pci_read16(PF, CAP + 8) & 1, 0);
	bridge.subordinate = 2;
	assert_int_equal(sriov_enable(&s, PF, 7, &why), 0);
	assert_int_equal(sriov_vf_rid(&s, 0).v, 0x280);
	assert_int_equal(pci_read16(PF, CAP + 8), 1 | 8);
}

static void only_what_is_reachable(void **state)
{
	struct sriov s;
	const char *why = NULL;
	(void)state;
	put16(PF, CAP + 0x16, 0x30); /* 1:80, 1:b0, 1:e0, 2:10 … */
	assert_int_equal(sriov_enable(&s, PF, 7, &why), 0);
	assert_int_equal(s.nr_vfs, 3);
	assert_int_equal(pci_read16(PF, CAP + 0x10), 3);
	function.parent = -1; /* on a root bus nothing is asked */
	put16(PF, CAP + 0x16, 2);
	assert_int_equal(sriov_enable(&s, PF, 7, &why), -ENODEV);
	has_ari = false;
	assert_int_equal(sriov_enable(&s, PF, 9, &why), -ENODEV);
}

static void what_can_be_missing(void **state)
{
	struct sriov s;
	const char *why = NULL;
	(void)state;
	has_bars = false;
	assert_int_equal(sriov_enable(&s, PF, 7, &why), -ENODEV);
	assert_non_null(strstr(why, "firmware"));
	has_bars = true;
	put16(PF, CAP + 0xe, 0); /* a function that has the capability and no VFs */
	assert_int_equal(sriov_enable(&s, PF, 7, &why), -ENODEV);
	has_sriov = false;
	assert_int_equal(sriov_enable(&s, PF, 7, &why), -ENOTSUP);
	nr_writes = 0;
	sriov_disable(PF);
	assert_int_equal(nr_writes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(enabled_with_ari, start), cmocka_unit_test_setup(without_ari_on_the_next_bus, start),
		cmocka_unit_test_setup(only_what_is_reachable, start), cmocka_unit_test_setup(what_can_be_missing, start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
