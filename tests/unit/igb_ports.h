/*
 * A PF of the model (igb_model.h) with seven ports of one VM: port n has the address 52:54:0:0:0:n, ports 4 to 6 are in VLAN 7; 0 and 1 are in
 * emulation.
 */
#ifndef TESTS_UNIT_IGB_PORTS_H
#define TESTS_UNIT_IGB_PORTS_H

#include "tests/unit/igb_model.h"
#include "tests/unit/nic_fakes.h"

#define PF_POOL (1u << 7)
#define RAH(p) IGB_RAH(IGB_PORT_RAR(p))
#define GROUP_BITS ((u32)(IGB_VMOLR_BAM | IGB_VMOLR_ROMPE))

extern const u8 stranger[6], broadcast[6];
extern struct nic_config conf[IGB_MAX_PORTS];
extern struct vm vm;
extern struct igb *pf;
extern struct nic_port port[IGB_MAX_PORTS];
extern struct nic_lower lower[IGB_MAX_PORTS];
extern u8 frame[9300];

/*
 * Set up and tear down of a test. prepare: the hardware only; start: the PF's queues and the devices of ports 0 and 1, too; go_on: what
 * start does after prepare.
 */
int prepare(void **state);
int start(void **state);
int go_on(void);
int stop(void **state);
/* The frame, with an address of each kind and a mark. */
const u8 *make(const u8 *to, const u8 *from, u8 mark);
/* From outside; from a port. */
void arrive(u32 pools, const u8 *to, u8 mark);
int send(u32 n, const u8 *to, u32 len);
void rx_irq(void);
/* The marks of the frames a port's device got, END as 'E'. */
const char *heard(u32 n);

#endif
