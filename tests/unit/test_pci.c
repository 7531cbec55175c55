/*
 * Configuration space by ECAM, on memory of the test's own: a root port, a switch with two ports, a NIC behind one of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/acpi.h"
#include "core/errno.h"
#include "core/mem.h"
#include "core/pci.h"
#include "core/time.h"
#include "tests/unit/log.h"

#define BUSES 5
#define ROOT RID(0, 1, 0)
#define UP RID(1, 0, 0)
#define DOWN RID(2, 0, 0)
#define BESIDE RID(2, 1, 0)
#define NIC RID(3, 0, 0)
#define EXP 0x40
#define ACS 0x148
#define ALL 0x7f          /* SV TB RR CR UF EC DT */
#define ISOLATED 0x1d     /* SV, RR, CR, UF */

static u8 space[BUSES << 20];

const struct acpi_header *acpi_find(const char *signature)
{
	static const struct acpi_header mcfg;
	return strcmp(signature, "MCFG") ? NULL : &mcfg;
}
int acpi_parse_mcfg(const void *table, u32 len, struct acpi_mcfg *out)
{
	(void)table, (void)len;
	*out = (struct acpi_mcfg){ .base = HPA(0xb0000000), .bus_last = BUSES - 1 };
	return 0;
}
void *mmio_map(hpa_t a, u64 len) { return a.v == 0xb0000000 && len == sizeof(space) ? space : NULL; }
u64 tsc_khz(void) { return 1000; }
u64 wait_begin(void) { return rdtsc(); }
void wait_end(u64 start) { (void)start; }
void wait_pause(u32 *polls) { ++*polls; }
void delay_us(u64 us) { (void)us; }

static u8 *at(rid_t r, u32 off) { return space + ((u32)r.v << 12) + off; }
static void put16(rid_t r, u32 off, u32 v)
{
	at(r, off)[0] = (u8)v;
	at(r, off)[1] = (u8)(v >> 8);
}
static u32 control(rid_t r) { return pci_read16(r, ACS + 6); }

/* port: type in the PCIe capability; acs: what its ACS capability offers, 0 = it has none. */
static void function(rid_t r, u32 port, u32 secondary, u32 subordinate, u32 acs)
{
	memset(at(r, 0), 0, 4096);
	put16(r, 0, 0x8086);
	put16(r, 2, 0x1234);
	put16(r, PCI_STATUS, 1 << 4);
	at(r, PCI_HEADER_TYPE)[0] = secondary != 0;
	put16(r, PCI_PRIMARY_BUS, r.v >> 8 | secondary << 8);
	put16(r, PCI_PRIMARY_BUS + 2, subordinate);
	at(r, PCI_CAP_PTR)[0] = EXP;
	put16(r, EXP, PCI_CAP_ID_EXP);
	put16(r, EXP + 2, 2 | port << 4);
	if (!acs)
		return;
	put16(r, 0x100, 1); /* AER first */
	put16(r, 0x102, 1 | ACS << 4);
	put16(r, ACS, 0xd);
	put16(r, ACS + 2, 1);
	put16(r, ACS + 4, acs);
}

static void machine(u32 root_acs, u32 up_acs, u32 down_acs)
{
	log_reset();
	function(ROOT, 4, 1, 4, root_acs);
	function(UP, 5, 2, 4, up_acs);
	function(DOWN, 6, 3, 3, down_acs);
	function(BESIDE, 6, 4, 4, ALL);
	function(NIC, 0, 0, 0, ALL);
}

static int scan(void **state)
{
	(void)state;
	memset(space, 0xff, sizeof(space));
	machine(ALL, 0, ALL);
	return pci_init() == 5 ? 0 : -1;
}

static void functions_are_found(void **state)
{
	(void)state;
	assert_int_equal(pci_count(), 5);
	const struct pci_dev *d = pci_find_rid(NIC);
	for (u32 i = 0; i < 3; i++) {
		static const rid_t above[] = { DOWN, UP, ROOT };
		d = pci_get((u32)d->parent);
		assert_int_equal(d->rid.v, above[i].v);
	}
	assert_int_equal(d->parent, -1);
	assert_int_equal(pci_find_ext_cap(DOWN, PCI_EXT_CAP_ID_ACS), ACS);
	assert_int_equal(pci_find_ext_cap(UP, PCI_EXT_CAP_ID_ACS), 0);
}

static void ports_above_redirect_upstream(void **state)
{
	(void)state;
	machine(ALL, 0, ALL);
	put16(DOWN, ACS + 6, 0x62); /* firmware's: blocking stays; egress control and translated peer to peer would be ways past us */
	pci_acs_enable(NIC);
	assert_int_equal(control(ROOT), ISOLATED);
	assert_int_equal(control(DOWN), ISOLATED | 2);
	assert_int_equal(control(BESIDE), 0); /* not above */
	assert_int_equal(control(NIC), 0);
	assert_int_equal(log_count, 0);       /* a switch's upstream port needs none */
}

static void what_a_port_does_not_offer_is_not_set(void **state)
{
	(void)state;
	machine(0x11, ALL, ALL); /* this root port has no peer to peer, hence nothing to redirect */
	pci_acs_enable(NIC);
	assert_int_equal(control(ROOT), 0x11);
	assert_int_equal(control(UP), ISOLATED);
	assert_int_equal(log_count, 0);
}

static void a_port_without_it_is_named(void **state)
{
	(void)state;
	machine(ALL, 0, 0);
	pci_acs_enable(NIC);
	assert_int_equal(control(ROOT), ISOLATED);
	assert_int_equal(log_count, 1);
	assert_true(log_has("02:00.0"));
	assert_true(log_has("03:00.0"));
	machine(0, 0, 0);
	pci_acs_enable(NIC);
	assert_int_equal(log_count, 2);
	/* on a root bus, and of a function that was not found, nothing is above */
	log_reset();
	pci_acs_enable(ROOT);
	pci_acs_enable(RID(4, 0, 0));
	assert_int_equal(log_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_are_found), cmocka_unit_test(ports_above_redirect_upstream),
		cmocka_unit_test(what_a_port_does_not_offer_is_not_set), cmocka_unit_test(a_port_without_it_is_named),
	};
	return cmocka_run_group_tests(tests, scan, NULL);
}
