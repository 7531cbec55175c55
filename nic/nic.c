/*
 * Lower ports: the registry, and who drives what.
 *
 * Invariant: lower ports are added while the instance starts and never go away; their numbers are what configurations name.
 */
#include "core/errno.h"
#include "core/hypercall.h"
#include "core/report.h"
#include "nic/port.h"

#define CLASS_NETWORK 0x02

static struct nic_lower lowers[NIC_MAX_LOWER];
static u32 nr_lowers, nr_gaps; /* numbers given out; of them unused */

static const struct nic_driver *const drivers[] = { &igb_driver };

int nic_lower_add(const struct nic_ops *ops, void *priv)
{
	if (nr_lowers == NIC_MAX_LOWER)
		return -ENOSPC;
	lowers[nr_lowers] = (struct nic_lower){ .ops = ops, .priv = priv, .index = nr_lowers, .data = ops ? ops->data : NULL };
	return (int)nr_lowers++;
}

int nic_lower_skip(void)
{
	int index = nic_lower_add(NULL, NULL);
	nr_gaps += index >= 0;
	return index;
}

struct nic_lower *nic_lower_get(u32 index) { return index < nr_lowers && lowers[index].ops ? &lowers[index] : NULL; }
u32 nic_lower_count(void) { return nr_lowers - nr_gaps; }

static const struct nic_driver *driver_for(const struct pci_dev *d)
{
	for (u32 i = 0; i < ARRAY_SIZE(drivers); i++)
		for (const u32 *id = drivers[i]->ids; *id; id++)
			if (*id == ((u32)d->vendor << 16 | d->device))
				return drivers[i];
	return NULL;
}

static const struct switch_config *section_of(const struct config *c, u32 n)
{
	return n < CFG_MAX_SWITCHES && c->switches[n].line ? &c->switches[n] : NULL;
}

/* How many there are, whether they work or not: the number of one does not depend on what becomes of the others. */
static u32 probe_all(const struct config *c)
{
	u32 n = 0;
	for (u32 i = 0; i < pci_count(); i++) {
		const struct pci_dev *d = pci_get(i);
		const struct nic_driver *driver = driver_for(d);
		if (driver) {
			driver->probe(d->rid, n, section_of(c, n)); /* says itself what is wrong */
			n++;
		} else if (d->class_code >> 16 == CLASS_NETWORK)
			log_line("nic: no driver for the network device %04x:%04x at " RID_FMT "; it stays off", d->vendor, d->device,
				 RID_ARG(d->rid));
	}
	return n;
}

/* A policy that applies to nothing is a mistake, and the ports that it was meant for would be open to each other. */
static int check_sections(const struct config *c, u32 nr_nics, char *err, size_t errlen)
{
	for (u32 n = nr_nics; n < CFG_MAX_SWITCHES; n++) {
		if (!c->switches[n].line)
			continue;
		format(err, errlen, "nestling.cfg:%u: there is no nic %u: %s", c->switches[n].line, n,
		       outer_present() ? "inside another Nestling NICs are the outermost's" : nr_nics ? "it would be one more than were found" :
		       "none was found that there is a driver for");
		return -EINVAL;
	}
	return 0;
}

/* ---- report ---- */

static void report_line(const struct nic_port *p, const struct nest_nic_stats *s)
{
	char counts[256] = "";
	if (s)
		format(counts, sizeof(counts), ",\"rx_packets\":%lu,\"rx_bytes\":%lu,\"tx_packets\":%lu,\"tx_bytes\":%lu,"
		       "\"rx_multicast\":%lu,\"faults\":%lu", s->rx_packets, s->rx_bytes, s->tx_packets, s->tx_bytes, s->rx_multicast,
		       s->faults);
	log_report("{\"section\":\"nic\",\"level\":%u,\"vm\":\"%s\",\"port\":%u,\"lower\":\"%s\",\"open\":%s,\"irqs\":%lu%s}",
		   outer_depth(), p->vm->cfg->name, p->index, p->lower->ops->name, p->open ? "true" : "false", p->nr_irqs, counts);
}

/* The packets of an inner's open port are counted by its outer, who prints them; asking it would put a hypercall into the report. */
static void report_port(struct nic_port *p)
{
	struct nest_nic_stats s;
	if (port_enter(p))
		return;
	if (!p->vm) { /* given back while we waited */
		port_leave(p);
		return;
	}
	bool known = (!p->open || !outer_present()) && !port_stats(p, &s);
	report_line(p, known ? &s : NULL);
	port_leave(p);
}

static void nic_report(void) { port_for_each(report_port); }

int nic_init(const struct config *c, char *err, size_t errlen)
{
	u32 nr_nics = 0;
	report_add_section(nic_report);
	if (outer_present())
		upstream_init();
	else
		nr_nics = probe_all(c);
	int r = check_sections(c, nr_nics, err, errlen);
	return r ? r : (int)nic_lower_count();
}
