/*
 * The mode transaction at the hardware.
 */
#include "core/errno.h"
#include "nic/igb.h"

int igb_prepare(struct nic_lower *l, enum nic_mode mode) { (void)l, (void)mode; return -ENOTSUP; }
void igb_commit(struct nic_lower *l, enum nic_mode mode, u32 *vf_head) { (void)l, (void)mode; *vf_head = 0; }
void igb_abort(struct nic_lower *l, enum nic_mode mode) { (void)l, (void)mode; }
