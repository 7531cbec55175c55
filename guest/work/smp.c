/*
 * The VM's second vCPU: started by INIT and SIPI (SDM 3A, MP Initialization Protocol Algorithm).
 */
#include <string.h>

#include "guest/lib/clock.h"
#include "guest/lib/traps.h"
#include "guest/lib/x86.h"
#include "guest/work/modes.h"

#define X2APIC_ICR (MSR_X2APIC_BASE + 0x30)
#define ICR_TO_1 (1ull << 32)
#define ICR_ASSERT BIT(14)
#define ICR_NMI (4u << 8)
#define ICR_INIT (5u << 8)
#define ICR_SIPI (6u << 8)
#define START_US 1000000

void smp_main(void); /* from modes.S */

static void (*volatile todo)(void);
static struct desc_ptr idt;
static bool arrived;

void smp_main(void)
{
	lidt(&idt);
	apic_init();
	WRITE_ONCE(arrived, true);
	todo();
}

bool smp_start(void (*fn)(void))
{
	memcpy((void *)LOW_BASE, low_start, (u64)(low_end - low_start));
	sidt(&idt);
	todo = fn;
	WRITE_ONCE(arrived, false);
	wrmsr(X2APIC_ICR, ICR_TO_1 | ICR_ASSERT | ICR_INIT);
	wrmsr(X2APIC_ICR, ICR_TO_1 | ICR_ASSERT | ICR_SIPI | LOW_BASE >> 12);
	return clock_wait(READ_ONCE(arrived), START_US);
}

void smp_send(u8 vector) { wrmsr(X2APIC_ICR, ICR_TO_1 | ICR_ASSERT | vector); }
void smp_send_nmi(void) { wrmsr(X2APIC_ICR, ICR_TO_1 | ICR_ASSERT | ICR_NMI); }
