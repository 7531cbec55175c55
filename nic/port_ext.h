/*
 * The port extender of a port at this level: what joins nic/extender.h, its control protocol (pe_csp.h) and the VDP station (vdp.h) to the
 * port, its emulated device and its lower link. There is one where the lower link leads to an external switch
 * (NEST_NIC_EXTERNAL), and none elsewhere: then frames go straight between device and link.
 *
 *   device  -- lower->data -->  extender  -- lower->ops->data -->  link        outward
 *   device  <-- vnet_rx ------  extender  <-- nic_port_rx -------  link        inward
 *
 * It is up while the VM's driver has its emulated device running or has a function of the port (or both): control frames use the
 * emulated chain in both states, so the link carries frames all that time, and a switch of state is no event here.
 *
 * Invariant: the link is started exactly while the extender is up; control frames that came in are handled in order, on the boot CPU, and
 * everything that a bridge answers has ended when the port is given back.
 */
#ifndef NIC_PORT_EXT_H
#define NIC_PORT_EXT_H

#include "nic/nic.h"

/*
 * The port has been bound to its lower link: give it an extender if there is an external switch, and tell the outer. Before the port's
 * device exists. 0 (also: none needed), -ENOMEM, -ENOSPC (vectors), -EIO.
 */
int port_ext_bind(struct nic_port *p) __must_check;
/* The VM has ended, its device is gone and its function closed. */
void port_ext_unbind(struct nic_port *p);
/* The VM has a function of the port, or has none any more. With the port's lock. */
void port_ext_open(struct nic_port *p, bool open);
/*
 * HC_NIC_EXTENDER: the port's user is an extender itself. With the port's lock. 0 (also: no external switch), -EBUSY (the port is up).
 */
int port_ext_cascade(struct nic_port *p);
/* What the extender knows better than the lower link: VLAN, link, who speaks VDP. Any lock. */
void port_ext_info(const struct nic_port *p, struct nest_nic_info *info);
/*
 * The bridge has another VLAN for the port than its configuration, or has not yet said which: the port stays down, and no function moves
 * frames. Once associated a port stays up without the bridge, until that says something else or the port's E-CID leads to another one of it.
 */
bool port_ext_refused(const struct nic_port *p);
/* How many bytes longer than other frames those of the port's user may be. */
u32 port_ext_tag_room(const struct nic_port *p);
/* A frame of the lower link; as nic_port_rx. Precondition: p->lower->ext. */
int port_ext_rx(struct nic_port *p, const u8 *frame, u32 len);
/* One line about it for the console, "" if there is none. */
void port_ext_describe(const struct nic_port *p, char *buf, u32 len);

#endif
