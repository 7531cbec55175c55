/*
 * Another processor of the guest, as a source of interprocessor interrupts: messages that a processor cannot send to itself, or that come
 * at a moment when it cannot act (INIT, startup IPIs).
 *
 * Invariant: between ap_stop and the next ap_send the other processor sends nothing.
 */
#ifndef GUEST_LIB_AP_H
#define GUEST_LIB_AP_H

#include "core/types.h"
#include "guest/lib/ap_page.h"

/* Low halves of the interrupt command register: edge, assert, physical destination (SDM 3A, Interrupt Command Register). */
#define IPI_FIXED(vector) (0x4000u | (vector))
#define IPI_NMI 0x4400u
#define IPI_INIT 0x4500u
#define IPI_SIPI(vector) (0x4600u | (vector))
#define IPI_NONE 0u            /* only counted */

struct ap_ipi {
	u32 delay;             /* rounds of a loop of two instructions before it is sent; not 0 */
	u32 icr;
};

/* Start it; once. False: there is none, or no x2APIC; the caller goes on alone. */
bool ap_start(void);
/* Send these to the caller, one after the other, the last one again and again until ap_stop. */
void ap_send(const struct ap_ipi *list, u32 n);
/* Stop sending. How many were sent, marks included. */
u32 ap_stop(void);
/* Where the number of those sent so far is. */
volatile u32 *ap_sent(void);

#endif
