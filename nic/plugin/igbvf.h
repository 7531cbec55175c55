/*
 * The functions of the 82576 VF's plugin, as header.S lists them and tests call them (struct nic_plugin_ops, core/plugin.h).
 *
 * Invariant: the lengths are those that the plugin's structures have; also read by the assembler.
 */
#ifndef NIC_PLUGIN_IGBVF_H
#define NIC_PLUGIN_IGBVF_H

#define IGBVF_STATE_LEN 256
#define IGBVF_DMA_LEN 0x102000

#ifndef __ASSEMBLER__
#include "core/plugin.h"

int igbvf_start(void *state, const struct nic_plugin_env *env);
int igbvf_stop(void *state);
int igbvf_tx(void *state, const u8 *frame, u32 len);
void igbvf_tx_kick(void *state);
u32 igbvf_tx_pending(void *state);
u32 igbvf_rx_poll(void *state, u32 budget);
int igbvf_rx_before(const void *state, u32 head);
void igbvf_irq_enable(void *state, bool on);
void igbvf_stats(const void *state, struct nic_plugin_stats *out);
#endif

#endif
