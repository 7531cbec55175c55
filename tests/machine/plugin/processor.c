/*
 * Features of VT-x that a test takes away from the default processor. Bochs asks its CPU model once, at power-on, for one word of
 * them; all else follows from it: capability MSRs, VMCS fields, VM-entry checks. The method that answers is a constant: it is changed.
 *
 * Invariant: a machine whose processor still has a feature that was to go does not start.
 */
#include <string.h>
#include <sys/mman.h>

#include "tests/machine/plugin/plugin.h"

uint32_t bochs_vmx_features(const void *model) BOCHS("_ZNK18corei7_skylake_x_t26get_vmx_extensions_bitmaskEv");

static uint32_t unwanted(void)
{
	return (uint32_t)setting("NESTLING_WITHOUT_VMX", 0);
}

/* endbr64; mov $constant, %eax; ret */
static void change_constant(void (*at)(void), uint32_t gone)
{
	static const uint8_t before[5] = { 0xF3, 0x0F, 0x1E, 0xFA, 0xB8 };
	uint8_t *code = (uint8_t *)at;
	uintptr_t page = (uintptr_t)at & ~0xFFFul;
	uint32_t word;

	if (memcmp(code, before, sizeof before) || code[9] != 0xC3 || (uintptr_t)at % 16)
		return;
	if (mprotect((void *)page, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC))
		return;
	memcpy(&word, code + sizeof before, sizeof word);
	word &= ~gone;
	memcpy(code + sizeof before, &word, sizeof word);
	mprotect((void *)page, 0x1000, PROT_READ | PROT_EXEC);
}

void processor_init(void)
{
	if (unwanted())
		change_constant((void (*)(void))bochs_vmx_features, unwanted());
}

void processor_check(void)
{
	uint32_t left;

	if (!unwanted())
		return;
	left = bochs_vmx_features(NULL) & unwanted();
	if (left)
		machine_end(END_ERROR, 0, "VT-x features %#x cannot be taken away from this Bochs's processor", left);
	log_line("VT-x features %#x taken away", unwanted());
}
