/*
 * Sections [nic N] of the configuration and the NICs that are found: which is whose, and one that is for none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/errno.h"
#include "core/pci.h"
#include "core/report.h"
#include "nic/port.h"
#include "tests/unit/core_fakes.h"

#define IGB 0x10c9u

static struct pci_dev devs[6];
static u32 nr_devs;
static struct { rid_t rid; u32 number; const struct switch_config *conf; } probed[8];
static u32 nr_probed;
static int answer;
static struct config c;
static char err[160];

u32 pci_count(void) { return nr_devs; }
const struct pci_dev *pci_get(u32 i) { return &devs[i]; }
int upstream_init(void) { return 0; }
void report_add_section(void (*fn)(void)) { (void)fn; }
int port_enter(struct nic_port *p) { (void)p; return -EAGAIN; }
void port_leave(struct nic_port *p) { (void)p; }
int port_stats(struct nic_port *p, struct nest_nic_stats *out) { (void)p, (void)out; return -EIO; }
void port_for_each(void (*fn)(struct nic_port *p)) { (void)fn; }

static int probe(rid_t rid, u32 number, const struct switch_config *conf)
{
	probed[nr_probed].rid = rid;
	probed[nr_probed].number = number;
	probed[nr_probed++].conf = conf;
	return answer;
}
static const u32 ids[] = { 0x80860000u | IGB, 0 };
const struct nic_driver igb_driver = { .name = "igb", .ids = ids, .probe = probe };

static void found(u16 device)
{
	devs[nr_devs] = (struct pci_dev){ .rid = RID(nr_devs, 0, 0), .vendor = 0x8086, .device = device, .class_code = 0x020000 };
	nr_devs++;
}

static int start(void **state)
{
	(void)state;
	nr_devs = nr_probed = 0;
	fakes_reset();
	answer = 0;
	memset(&c, 0, sizeof(c));
	err[0] = 0;
	return 0;
}

static void sections_by_order(void **state)
{
	(void)state;
	found(IGB);
	found(0x1234); /* no driver: it has no number */
	found(IGB);
	found(IGB);
	c.switches[1] = (struct switch_config){ .external = true, .line = 3 };
	c.switches[2] = (struct switch_config){ .line = 5 };
	answer = -EIO; /* that they do not work changes no number */
	assert_int_equal(nic_init(&c, err, sizeof(err)), 0);
	assert_int_equal(nr_probed, 3);
	assert_null(probed[0].conf);
	assert_ptr_equal(probed[1].conf, &c.switches[1]);
	assert_ptr_equal(probed[2].conf, &c.switches[2]);
	assert_int_equal(probed[2].number, 2);
	assert_int_equal(probed[2].rid.v, RID(3, 0, 0).v);
}

static void one_too_many(void **state)
{
	(void)state;
	found(IGB);
	c.switches[0].line = 2;
	c.switches[3].line = 7;
	assert_int_equal(nic_init(&c, err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "nestling.cfg:7: there is no nic 3: it would be one more than were found");
}

static void none_at_all(void **state)
{
	(void)state;
	found(0x1234);
	assert_int_equal(nic_init(&c, err, sizeof(err)), 0);
	c.switches[0].line = 2;
	assert_int_equal(nic_init(&c, err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "nestling.cfg:2: there is no nic 0: none was found that there is a driver for");
}

static void they_are_the_outermosts(void **state)
{
	(void)state;
	found(IGB);
	fake_outer = true;
	assert_int_equal(nic_init(&c, err, sizeof(err)), 0);
	c.switches[0].line = 2;
	assert_int_equal(nic_init(&c, err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "nestling.cfg:2: there is no nic 0: inside another Nestling NICs are the outermost's");
	assert_int_equal(nr_probed, 0);
}

static void more_than_sections(void **state)
{
	(void)state;
	for (u32 i = 0; i < 6; i++)
		found(IGB);
	assert_int_equal(nic_init(&c, err, sizeof(err)), 0);
	assert_int_equal(nr_probed, 6);
	assert_null(probed[5].conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sections_by_order, start), cmocka_unit_test_setup(one_too_many, start),
		cmocka_unit_test_setup(none_at_all, start), cmocka_unit_test_setup(they_are_the_outermosts, start),
		cmocka_unit_test_setup(more_than_sections, start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
