/*
 * A VM with one port, for tests of drivers against the real emulated device (nic/vnet*.c): its PCI bus and registers are reached by
 * the mmio functions, its RAM is what the test declares, addresses being the test's own; the device's lower link is the test.
 */
#ifndef TESTS_UNIT_VIRTIO_MACHINE_H
#define TESTS_UNIT_VIRTIO_MACHINE_H

#include "nic/nic.h"
#include "nic/vnet.h"

#define MACHINE_RID 0x0008 /* port 0 is 00:01.0 */
#define MACHINE_FRAME 1514u

struct machine {
	struct vm vm;
	struct nic_port port;       /* whose device it is: frames come in by vnet_rx(port.dev, …) */
	struct nic_lower lower;     /* under the device */
	struct nest_nic_info info;  /* what it says; max_frame and mac are set by machine_start */
	void (*tx)(const u8 *frame, u32 len); /* frames that the device sends */
	u32 starts, stops, flushes, fences;
	u32 more;                   /* rx_more since this was last cleared */
	int err_start;              /* of the next start, once */
	u64 hidden;                 /* features that the driver does not get to see */
	const char *fault;          /* this point of injected failures fails, once; NULL: none does */
	struct nic_rx_filter filter; /* last told */
	u32 msis[256];              /* messages by vector, since cleared */
	u64 msi_addr;               /* of the last */
	u64 exits, kicks;           /* accesses to registers or configuration; of these, notifications */
	char log[256];              /* last line */
};
extern struct machine machine;

void machine_start(void);
void machine_stop(void);
/* The VM's RAM gets these bytes. */
void machine_ram(const void *p, u64 len);

#endif
