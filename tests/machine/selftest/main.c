/*
 * Order of the self-test: what each step uses was proven by those before it.
 */
#include <efi.h>
#include <efilib.h>

#include "tests/machine/selftest/selftest.h"

#define IGB_PF 0x10C98086

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static bool start_nic(struct nic *n)
{
	n->bdf = pci_find_device(IGB_PF);
	if (!n->bdf) {
		skip("igb", "this machine has none");
		return false;
	}
	n->regs = igb_start(n->bdf, n->mac);
	n->q = (struct igb_queue){ .regs = n->regs, .rx = 0xC000, .tx = 0xE000 };
	return check(n->regs != 0, "igb's link comes up");
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	static struct nic nic;
	bool remapped = false;

	(void)image;
	system->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
	platform_init(system);
	test_platform();
	irq_init();
	if (start_nic(&nic) && platform.vtd) {
		remapped = true;
		vtd_init();
		test_dma(&nic);
		test_msix(&nic);
		test_level(&nic);
		test_vf(&nic);
	}
	test_vmx();
	test_cpus(remapped ? &nic : NULL, system);
	if (!failures())
		test_reset();
	print(failures() ? "self-test FAILED\n" : "self-test passed\n");
	end_machine(failures() ? 1 : 0);
}
