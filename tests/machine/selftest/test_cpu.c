/*
 * Tests of the processors: VT-x, further CPUs and interrupts that are sent to them; and the platform's reset.
 */
#include <efi.h>
#include <efilib.h>

#include "tests/machine/selftest/selftest.h"

#define CPUID_VMX        (1u << 5)
#define MSR_FEATURE_CTL  0x3A
#define MSR_VMX_BASIC    0x480
#define CTL_LOCKED       1
#define CTL_VMXON        4
#define CR0_NE           0x20
#define CR4_VMXE         0x2000
#define IRTE_PF          5

void test_vmx(void)
{
	u64 region;

	if (!(cpuid_ecx(1) & CPUID_VMX)) {
		skip("VMXON", "this processor has no VMX");
		return;
	}
	if (!(rdmsr(MSR_FEATURE_CTL) & CTL_LOCKED))
		wrmsr(MSR_FEATURE_CTL, rdmsr(MSR_FEATURE_CTL) | CTL_LOCKED | CTL_VMXON);
	region = alloc_pages(1);
	write32(region, (u32)rdmsr(MSR_VMX_BASIC) & 0x7FFFFFFF);
	write_cr0(read_cr0() | CR0_NE);
	write_cr4(read_cr4() | CR4_VMXE);
	check(vmxon_vmxoff(region), "VMXON");
	write_cr4(read_cr4() & ~(u64)CR4_VMXE);
}

/* --- further CPUs -------------------------------------------------------------------------------------------------- */

/* UEFI Platform Initialization Specification, EFI_MP_SERVICES_PROTOCOL */
struct mp_services {
	EFI_STATUS (EFIAPI *count)(struct mp_services *, UINTN *all, UINTN *enabled);
	void *info;
	void *start_all;
	EFI_STATUS (EFIAPI *start)(struct mp_services *, void (EFIAPI *fn)(void *), UINTN cpu, EFI_EVENT, UINTN us,
				   void *arg, BOOLEAN *finished);
};
static EFI_GUID mp_guid = { 0x3FDDA605, 0xA76E, 0x4F46, { 0xAD, 0x29, 0x12, 0xF4, 0x53, 0x1B, 0x3D, 0x08 } };

static volatile u32 ap_apic_id;
static volatile bool ap_ready, ap_stop, ap_stopped;

static void EFIAPI ap_main(void *unused)
{
	(void)unused;
	irq_init_ap();
	ap_apic_id = apic_id();
	ap_ready = true;
	sti();
	while (!ap_stop)
		pause_cpu();
	cli();
	ap_stopped = true;
}

static bool send_to(struct nic *n, u8 vector, u32 apic)
{
	u32 before = irq_count(vector);

	vtd_irte(IRTE_PF, n->bdf, vector, apic, false);
	igb_raise(n->regs);
	return wait_until(irq_count(vector) != before, 1000) && irq_last_cpu(vector) == apic;
}

static bool test_one_cpu(struct mp_services *mp, EFI_BOOT_SERVICES *bs, struct nic *n, UINTN cpu)
{
	EFI_EVENT event;
	bool ok;

	ap_ready = ap_stop = ap_stopped = false;
	if (bs->CreateEvent(0, 0, NULL, NULL, &event) || mp->start(mp, ap_main, cpu, event, 0, NULL, NULL))
		return false;
	if (!wait_until(ap_ready, 3000))
		return false;
	ok = !n || (ap_apic_id != apic_id() && send_to(n, 0x52, ap_apic_id) && send_to(n, 0x53, apic_id()));
	ap_stop = true;
	/* the firmware must see that the CPU is idle again before it can be started for another purpose */
	return wait_until(ap_stopped, 1000) && ok;
}

void test_cpus(struct nic *n, void *efi_system_table)
{
	EFI_BOOT_SERVICES *bs = ((EFI_SYSTEM_TABLE *)efi_system_table)->BootServices;
	struct mp_services *mp = NULL;
	UINTN all = 0, enabled = 0;
	bool ok = true;

	if (!check(!bs->LocateProtocol(&mp_guid, NULL, (void **)&mp) && !mp->count(mp, &all, &enabled) &&
		   enabled == platform.cpus, "the firmware has started all CPUs"))
		return;
	if (n)
		pci_msix_remapped(n->bdf, pci_bar(n->bdf, PCI_BAR(3)), IRTE_PF), igb_interrupts_on(n->regs);
	for (UINTN cpu = 1; cpu < enabled; cpu++)
		ok = test_one_cpu(mp, bs, n, cpu) && ok;
	if (enabled > 1)
		check(ok, n ? "an interrupt is retargeted to each CPU and back" : "each CPU runs");
}

/* --- reset --------------------------------------------------------------------------------------------------------- */

#define CMOS_INDEX  0x70
#define CMOS_DATA   0x71
#define CMOS_FREE   0x6E    /* a byte that neither firmware nor emulators use */
#define WAS_RESET   0xA5
#define PORT_RESET  0xCF9

static u8 *cmos_swap(u8 v)
{
	static u8 old;

	outb(CMOS_INDEX, CMOS_FREE);
	old = inb(CMOS_DATA);
	outb(CMOS_INDEX, CMOS_FREE);
	outb(CMOS_DATA, v);
	return &old;
}

/* Resets the platform with everything on, once; the tests then run again on a machine that must look new. */
void test_reset(void)
{
	if (*cmos_swap(WAS_RESET) == WAS_RESET) {
		cmos_swap(0);
		check(true, "the machine works after a platform reset");
		return;
	}
	print("     platform reset\n");
	outb(PORT_RESET, 2);
	outb(PORT_RESET, 6);
	for (;;)
		pause_cpu();
}
