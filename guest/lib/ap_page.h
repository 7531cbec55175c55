/*
 * Places in the page of the other processor (ap.c, ap_page.S). Also included by assembly.
 */
#ifndef GUEST_LIB_AP_PAGE_H
#define GUEST_LIB_AP_PAGE_H

#define AP_CODE 0x9000  /* where it is put: a page below 1 MiB that a startup IPI can name; the guest uses it for nothing else */
#define AP_VARS 0x200   /* of the variables, from the page's start; 32 bits each */
#define AP_TAKEN (AP_VARS + 0)
#define AP_UP (AP_VARS + 4)
#define AP_GO (AP_VARS + 8)
#define AP_IDLE (AP_VARS + 12)
#define AP_DEST (AP_VARS + 16)
#define AP_SENT (AP_VARS + 20)
#define AP_LIST (AP_VARS + 32)
#define AP_LIST_MAX 16

#endif
