/*
 * A processor for the unit tests of the nested engine: capabilities like those of a current CPU, everything there.
 */
#ifndef TESTS_UNIT_NESTED_HW_H
#define TESTS_UNIT_NESTED_HW_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/x86.h"
#include "vmx/nested_priv.h"

static inline struct vmx_caps full_hw(void)
{
	return (struct vmx_caps){
		.basic = 0x2b | VMX_BASIC_TRUE | VMX_BASIC_INS_OUTS,
		.misc = 5 | VMX_MISC_EFER_LMA | 0x1c0 | 4 << 16 | VMX_MISC_VMWRITE_RO,
		.ept_vpid = EPT_CAP_EXEC_ONLY | EPT_CAP_WALK_4 | EPT_CAP_UC | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_1G | EPT_CAP_INVEPT |
			    EPT_CAP_AD | EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL | EPT_CAP_INVVPID | EPT_CAP_INVVPID_ALL,
		.vmfunc = 1, .cr0_fixed0 = CR0_PE | CR0_NE | CR0_PG, .cr0_fixed1 = 0xffffffff, .cr4_fixed0 = CR4_VMXE, .cr4_fixed1 = 0x3767ff,
		.pin = { 0x16, 0xff }, .proc = { 0x04006172, 0xfff9fffe }, .proc2 = { 0, ~0u }, .exit = { 0x36dfb, 0x7fffff },
		.entry = { 0x11fb, 0xffff },
		.use_pin = 0x16 | PIN_EXT_INT | PIN_NMI | PIN_VIRTUAL_NMI | PIN_POSTED_INT,
		.use_proc = (u32)(0x04006172 | PROC_HLT | PROC_MSR_BITMAPS | PROC_IO_BITMAPS | PROC_SECONDARY | PROC_TPR_SHADOW),
		.use_proc2 = PROC2_EPT | PROC2_UNRESTRICTED | PROC2_RDTSCP | PROC2_INVPCID | PROC2_XSAVES | PROC2_VPID | PROC2_APIC_REGS | PROC2_VIRT_INT,
		.use_exit = 0x36dfb | EXIT_HOST_64 | EXIT_ACK_INT | EXIT_SAVE_EFER | EXIT_LOAD_EFER | EXIT_SAVE_PAT | EXIT_LOAD_PAT,
		.use_entry = 0x11fb | ENTRY_LOAD_EFER | ENTRY_LOAD_PAT | ENTRY_LOAD_DEBUG,
		.unrestricted = true, .vpid = true, .shadow_vmcs = true, .apicv = true, .posted = true, .preemption_timer = true,
		.ept_ad = true, .ept_1g = true, .ept_2m = true,
	};
}

static inline struct nested_caps full_caps(void)
{
	struct vmx_caps hw = full_hw();
	struct nested_caps c;

	nested_caps_make(&c, &hw, 39);
	return c;
}

#endif
