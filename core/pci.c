/*
 * PCI Express: configuration space, enumeration, capabilities, BARs, function-level reset.
 *
 * Invariant: a configuration access outside what the machine has reads ones and writes nothing. The list of functions is
 * made once; virtual functions are not in it, but can be accessed by their requester ID all the same.
 */
#include "core/acpi.h"
#include "core/console.h"
#include "core/errno.h"
#include "core/mem.h"
#include "core/pci.h"
#include "core/spinlock.h"
#include "core/time.h"
#include "core/x86.h"

#define MAX_FUNCTIONS 256
#define BUS_SIZE (1ull << 20)
#define CF8 0xcf8
#define CFC 0xcfc
#define CF8_ENABLE 0x80000000u

#define HEADER_MULTI 0x80
#define HEADER_BRIDGE 1
#define STATUS_CAP_LIST BIT(4)
#define EXT_CAPS 0x100
#define CONFIG_SIZE 0x1000

/* PCIe capability (PCIe Base Specification, PCI Express Capability Structure). */
#define EXP_FLAGS 2
#define EXP_FLAGS_PORT BITS(7, 4)
#define EXP_PORT_UPSTREAM 5
#define EXP_DEVCAP 4
#define EXP_DEVCAP_FLR BIT(28)
#define EXP_DEVCTL 8
#define EXP_DEVCTL_FLR BIT(15)
#define EXP_DEVSTA 10
#define EXP_DEVSTA_PENDING BIT(5)

/* Access Control Services (PCIe Base Specification, ACS Extended Capability); capability and control have the same bits. */
#define ACS_CAP 4
#define ACS_CTL 6
#define ACS_SV BIT(0)  /* source validation: a requester ID that is not of this subtree is refused */
#define ACS_RR BIT(2)  /* peer-to-peer requests go upstream … */
#define ACS_CR BIT(3)  /* … and so do completions */
#define ACS_UF BIT(4)  /* upstream forwarding: the same for what targets the port's own subtree */
#define ACS_EC BIT(5)  /* egress control: exempts neighbours from RR */
#define ACS_DT BIT(6)  /* direct translated peer to peer: exempts what claims to be translated */

#define FLR_PENDING_US 100000
#define FLR_WAIT_US 100000
#define FLR_READY_US 1000000

static char *ecam;            /* of bus_first; NULL: mechanism 1 */
static u8 bus_first, bus_last = 0xff;
static struct pci_dev devs[MAX_FUNCTIONS];
static u32 nr_devs;
static u64 scanned[4];        /* buses */
/* Protects the address register CF8 between its write and the access to CFC. */
static spinlock_t cf8_lock = SPINLOCK_INIT;

/* ---- configuration space ---- */

static char *ecam_at(rid_t r, u16 off)
{
	u8 bus = (u8)(r.v >> 8);

	if (!ecam || bus < bus_first || bus > bus_last || off >= CONFIG_SIZE)
		return NULL;
	return ecam + ((u64)(r.v - (bus_first << 8)) << 12) + off;
}

static u32 cf8_access(rid_t r, u16 off, u32 size, bool write, u32 v)
{
	u16 port = CFC + (off & 3);

	if (ecam || off >= EXT_CAPS)
		return ~0u;
	spin_lock(&cf8_lock);
	outl(CF8, CF8_ENABLE | (u32)r.v << 8 | (off & 0xfc));
	if (write)
		size == 1 ? outb(port, (u8)v) : size == 2 ? outw(port, (u16)v) : outl(port, v);
	else
		v = size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
	spin_unlock(&cf8_lock);
	return v;
}

u8 pci_read8(rid_t r, u16 off)
{
	char *p = ecam_at(r, off);

	return p ? mmio_read8(p) : (u8)cf8_access(r, off, 1, false, 0);
}

u16 pci_read16(rid_t r, u16 off)
{
	char *p = ecam_at(r, off);

	return p ? mmio_read16(p) : (u16)cf8_access(r, off, 2, false, 0);
}

u32 pci_read32(rid_t r, u16 off)
{
	char *p = ecam_at(r, off);

	return p ? mmio_read32(p) : cf8_access(r, off, 4, false, 0);
}

void pci_write8(rid_t r, u16 off, u8 v)
{
	char *p = ecam_at(r, off);

	if (p)
		mmio_write8(p, v);
	else
		cf8_access(r, off, 1, true, v);
}

void pci_write16(rid_t r, u16 off, u16 v)
{
	char *p = ecam_at(r, off);

	if (p)
		mmio_write16(p, v);
	else
		cf8_access(r, off, 2, true, v);
}

void pci_write32(rid_t r, u16 off, u32 v)
{
	char *p = ecam_at(r, off);

	if (p)
		mmio_write32(p, v);
	else
		cf8_access(r, off, 4, true, v);
}

/* ---- enumeration ---- */

static void function_add(rid_t r, u32 id, s32 parent)
{
	if (nr_devs == MAX_FUNCTIONS) {
		log_limited(1, "pci: more than %d functions: the rest is left out", MAX_FUNCTIONS);
		return;
	}
	struct pci_dev *d = &devs[nr_devs++];
	*d = (struct pci_dev){
		.rid = r,
		.vendor = (u16)id,
		.device = (u16)(id >> 16),
		.class_code = pci_read32(r, PCI_CLASS_REVISION) >> 8,
		.header_type = pci_read8(r, PCI_HEADER_TYPE) & (u8)~HEADER_MULTI,
		.parent = parent,
	};
	if (d->header_type == HEADER_BRIDGE) {
		u32 buses = pci_read32(r, PCI_PRIMARY_BUS);

		d->secondary = (u8)(buses >> 8);
		d->subordinate = (u8)(buses >> 16);
	}
}

static void bus_scan(u8 bus, s32 parent)
{
	scanned[bus / 64] |= BIT(bus % 64);
	for (u32 dev = 0; dev < 32; dev++) {
		for (u32 fn = 0; fn < 8; fn++) {
			rid_t r = RID(bus, dev, fn);
			u32 id = pci_read32(r, 0);

			if ((id & 0xffff) != 0xffff)
				function_add(r, id, parent);
			if (fn == 0 && ((id & 0xffff) == 0xffff || !(pci_read8(r, PCI_HEADER_TYPE) & HEADER_MULTI)))
				break;
		}
	}
}

/* Bus numbers are the firmware's; one that is nonsense or was seen already (a loop) is not followed. */
static bool bus_is_new(const struct pci_dev *d)
{
	u8 bus = d->secondary;

	return d->header_type == HEADER_BRIDGE && bus > bus_first && bus <= bus_last &&
	       !(scanned[bus / 64] & BIT(bus % 64));
}

static void ecam_open(void)
{
	const struct acpi_header *t = acpi_find("MCFG");
	struct acpi_mcfg m;

	if (!t || acpi_parse_mcfg(t, t->length, &m)) {
		log_line("pci: %s: configuration by ports, no extended capabilities", t ? "MCFG is corrupt" : "no MCFG");
		return;
	}
	u64 len = (u64)(m.bus_last - m.bus_first + 1) * BUS_SIZE;
	ecam = mmio_map(HPA(m.base.v + m.bus_first * BUS_SIZE), len);
	if (!ecam) {
		log_line("pci: no configuration space can be at %lx: configuration by ports", m.base.v);
		return;
	}
	bus_first = m.bus_first;
	bus_last = m.bus_last;
	log_line("pci: ECAM at %lx, buses %02x-%02x", m.base.v, bus_first, bus_last);
}

int pci_init(void)
{
	ecam_open();
	bus_scan(bus_first, -1);
	for (u32 i = 0; i < nr_devs; i++) /* grows while it is walked */
		if (bus_is_new(&devs[i]))
			bus_scan(devs[i].secondary, (s32)i);
	return nr_devs ? (int)nr_devs : -ENODEV;
}

bool pci_has_ecam(void)
{
	return ecam != NULL;
}

u32 pci_count(void)
{
	return nr_devs;
}

const struct pci_dev *pci_get(u32 i)
{
	return i < nr_devs ? &devs[i] : NULL;
}

const struct pci_dev *pci_find_rid(rid_t rid)
{
	for (u32 i = 0; i < nr_devs; i++)
		if (devs[i].rid.v == rid.v)
			return &devs[i];
	return NULL;
}

void pci_quiesce_all(void)
{
	for (u32 i = 0; i < nr_devs; i++) {
		u16 command = pci_read16(devs[i].rid, PCI_COMMAND) | PCI_COMMAND_INTX_DISABLE;

		if (devs[i].header_type != HEADER_BRIDGE)
			command &= (u16)~PCI_COMMAND_MASTER;
		pci_write16(devs[i].rid, PCI_COMMAND, command);
	}
}

/* ---- capabilities ---- */

u16 pci_find_cap(rid_t r, u8 id)
{
	if (!(pci_read16(r, PCI_STATUS) & STATUS_CAP_LIST))
		return 0;
	u16 at = pci_read8(r, PCI_CAP_PTR) & 0xfc;
	/* 48 capabilities fill the space: a longer walk is a loop. */
	for (u32 n = 0; n < 48 && at >= 0x40; n++) {
		u16 head = pci_read16(r, at);

		if ((head & 0xff) == id)
			return at;
		at = head >> 8 & 0xfc;
	}
	return 0;
}

u16 pci_find_ext_cap(rid_t r, u16 id)
{
	u16 at = EXT_CAPS;

	for (u32 n = 0; n < (CONFIG_SIZE - EXT_CAPS) / 8 && at >= EXT_CAPS; n++) {
		u32 head = pci_read32(r, at);

		if (head == 0 || head == ~0u)
			return 0;
		if ((head & 0xffff) == id)
			return at;
		at = head >> 20 & 0xffc;
	}
	return 0;
}

/* ---- BARs ---- */

#define BAR_IO BIT(0)
#define BAR_TYPE BITS(2, 1)
#define BAR_64BIT 2
#define BAR_FLAGS 0xfu

/* Write ones, read back, restore. */
static u32 bar_probe(rid_t r, u16 off, u32 old)
{
	pci_write32(r, off, ~0u);
	u32 mask = pci_read32(r, off);
	pci_write32(r, off, old);
	return mask;
}

/*
 * PCIe Base Specification, Base Address Registers: sized with decoding off. The BARs of an SR-IOV capability decode by VF
 * MSE there, not by the command register: the caller sizes them before it enables the VFs.
 */
int pci_bar(rid_t r, u16 off, hpa_t *base, u64 *size)
{
	u32 low = pci_read32(r, off), high = 0;
	bool is64 = FIELD_GET(BAR_TYPE, low) == BAR_64BIT, own = off < EXT_CAPS;
	u16 command = pci_read16(r, PCI_COMMAND);

	if (low == ~0u || (low & BAR_IO))
		return -EINVAL;
	if (own)
		pci_write16(r, PCI_COMMAND, command & (u16)~(PCI_COMMAND_IO | PCI_COMMAND_MEM));
	u64 mask = bar_probe(r, off, low) & ~BAR_FLAGS;
	if (is64) {
		high = pci_read32(r, off + 4);
		mask |= (u64)bar_probe(r, off + 4, high) << 32;
	} else if (mask) {
		mask |= BITS(63, 32);
	}
	if (own)
		pci_write16(r, PCI_COMMAND, command);
	*base = HPA((u64)high << 32 | (low & ~BAR_FLAGS));
	*size = mask ? -mask : 0;
	/* A size that is no power of two, or a base that is not a multiple of it: no BAR. */
	if (!mask || (*size & (*size - 1)) || !base->v || (base->v & (*size - 1)))
		return -EINVAL;
	return 0;
}

/* ---- access control ---- */

/*
 * What a port does not offer is what it has no use for (a root port without peer to peer has no RR). A switch's upstream port
 * only passes on what its downstream ports decided, and usually has no ACS.
 */
static bool acs_port_enable(rid_t port)
{
	u16 acs = pci_find_ext_cap(port, PCI_EXT_CAP_ID_ACS), exp = pci_find_cap(port, PCI_CAP_ID_EXP);

	if (!acs)
		return exp && FIELD_GET(EXP_FLAGS_PORT, pci_read16(port, (u16)(exp + EXP_FLAGS))) == EXP_PORT_UPSTREAM;
	u16 want = pci_read16(port, (u16)(acs + ACS_CAP)) & (u16)(ACS_SV | ACS_RR | ACS_CR | ACS_UF);
	u16 control = pci_read16(port, (u16)(acs + ACS_CTL)) & (u16)~(ACS_EC | ACS_DT);
	pci_write16(port, (u16)(acs + ACS_CTL), control | want);
	/* Some root ports have the register elsewhere. */
	return (pci_read16(port, (u16)(acs + ACS_CTL)) & (want | ACS_EC | ACS_DT)) == want;
}

void pci_acs_enable(rid_t r)
{
	const struct pci_dev *d = pci_find_rid(r);

	for (s32 i = d ? d->parent : -1; i >= 0; i = devs[i].parent)
		if (!acs_port_enable(devs[i].rid))
			log_line("pci: " RID_FMT " has no access control services: what is behind it may reach neighbours of " RID_FMT
				 " past the IOMMU", RID_ARG(devs[i].rid), RID_ARG(r));
}

/* ---- reset ---- */

/*
 * PCIe Base Specification, Function Level Reset: first no new requests and the old ones answered, then 100 ms in which the
 * function may do anything, then it must answer again. A VF's vendor ID always reads ones, so its capability is asked.
 */
int pci_flr(rid_t r)
{
	u16 exp = pci_find_cap(r, PCI_CAP_ID_EXP);
	u32 devcap = exp ? pci_read32(r, exp + EXP_DEVCAP) : 0;

	if (!(devcap & EXP_DEVCAP_FLR))
		return -ENOTSUP;
	pci_write16(r, PCI_COMMAND, pci_read16(r, PCI_COMMAND) & (u16)~PCI_COMMAND_MASTER);
	if (!wait_until(!(pci_read16(r, exp + EXP_DEVSTA) & EXP_DEVSTA_PENDING), FLR_PENDING_US))
		log_limited(4, "pci: " RID_FMT ": transactions still pending before the reset", RID_ARG(r));
	pci_write16(r, exp + EXP_DEVCTL, pci_read16(r, exp + EXP_DEVCTL) | EXP_DEVCTL_FLR);
	delay_us(FLR_WAIT_US);
	if (!wait_until(pci_read32(r, exp + EXP_DEVCAP) == devcap, FLR_READY_US))
		return -ETIMEDOUT;
	return 0;
}
