/*
 * Ports without an external switch: there is no extender; but a test may say that the user is one.
 */
#include "nic/port_ext.h"

#include <string.h>

#include "nic/etag.h"

int port_ext_bind(struct nic_port *p)
{
	p->lower->data = p->lower->ops->data;
	return 0;
}

void port_ext_unbind(struct nic_port *p) { (void)p; }

void port_ext_open(struct nic_port *p, bool open)
{
	(void)p;
	(void)open;
}

int port_ext_cascade(struct nic_port *p)
{
	(void)p;
	return 0;
}

void port_ext_info(const struct nic_port *p, struct nest_nic_info *info)
{
	(void)p;
	(void)info;
}

bool port_ext_refused(const struct nic_port *p)
{
	(void)p;
	return false;
}

bool no_ext_cascade;
u32 port_ext_tag_room(const struct nic_port *p)
{
	(void)p;
	return no_ext_cascade ? ETAG_LEN : 0;
}

int port_ext_rx(struct nic_port *p, const u8 *frame, u32 len)
{
	(void)p;
	(void)frame;
	(void)len;
	return 0;
}
