/*
 * The other processor: see ap.h.
 */
#include "guest/lib/ap.h"

#include <string.h>

#include "core/x86.h"
#include "guest/lib/traps.h"

#define X2APIC_ICR (MSR_X2APIC_BASE + 0x30)
#define TO_OTHERS 0xc0000u
#define WAIT_TICKS 20000000ull
#define SETTLE_TICKS 1000000ull /* 10 ms by the book; 1000 times what the test machines need */

extern const u8 ap_page_start[], ap_page_end[];

static volatile u32 *var(u32 at) { return (volatile u32 *)(u64)(AP_CODE + at); }

static void settle(void)
{
	for (u64 start = rdtsc(); rdtsc() - start < SETTLE_TICKS;)
		cpu_relax();
}

bool ap_start(void)
{
	if (!(rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD))
		return false;
	memset((void *)AP_CODE, 0, PAGE_SIZE);
	memcpy((void *)AP_CODE, ap_page_start, (u64)(ap_page_end - ap_page_start));
	wrmsr(X2APIC_ICR, TO_OTHERS | IPI_INIT);
	settle();
	wrmsr(X2APIC_ICR, TO_OTHERS | IPI_SIPI(AP_CODE >> 12));
	for (u64 start = rdtsc(); !*var(AP_UP) && rdtsc() - start < WAIT_TICKS;)
		cpu_relax();
	return *var(AP_UP);
}

void ap_send(const struct ap_ipi *list, u32 n)
{
	u32 words = 2 * MIN(n, AP_LIST_MAX - 1u);

	for (u32 i = 0; i < words; i++)
		*var(AP_LIST + 4 * i) = ((const u32 *)list)[i];
	*var(AP_LIST + 4 * words) = 0;
	*var(AP_DEST) = apic_id();
	*var(AP_SENT) = 0;
	*var(AP_IDLE) = 0;
	*var(AP_GO) = 1;
}

u32 ap_stop(void)
{
	*var(AP_GO) = 0;
	while (!*var(AP_IDLE))
		cpu_relax();
	return *var(AP_SENT);
}

volatile u32 *ap_sent(void) { return var(AP_SENT); }
