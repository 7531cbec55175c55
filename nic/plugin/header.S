/*
 * Head of the plugin's image (struct nic_plugin_image, core/plugin.h), and what the compiler may call.
 *
 * Invariant: every field is a constant or a difference of labels, so the linker leaves no relocation. The length and the checksum are
 * filled in by seal.c, which also checks the rest.
 */
#include "nic/plugin/igbvf.h"

	.section .header, "a"
image:
	.ascii "NESTPLUG"
	.long 3                     /* NIC_PLUGIN_ABI */
	.long image_header_end - image
	.long 0                     /* image_len */
	.long 0                     /* crc */
	.long 1                     /* family: Intel 82576 VF */
	.long 0
licence:
	.asciz "BSD-2-Clause"
	.fill 16 - (. - licence), 1, 0
name:
	.asciz "igbvf"
	.fill 16 - (. - name), 1, 0
	.long IGBVF_STATE_LEN, IGBVF_DMA_LEN
	.long igbvf_start - image, igbvf_stop - image, igbvf_tx - image, igbvf_tx_kick - image, igbvf_tx_pending - image
	.long igbvf_rx_poll - image, igbvf_rx_before - image, igbvf_irq_enable - image, igbvf_stats - image
	.long 0
image_header_end:

	.text
	.globl memcpy, memset
	.hidden memcpy, memset
memcpy: /* (to, from, n) */
	movq %rdi, %rax
	movq %rdx, %rcx
	rep movsb
	ret
memset: /* (to, byte, n) */
	movq %rdi, %r8
	movl %esi, %eax
	movq %rdx, %rcx
	rep stosb
	movq %r8, %rax
	ret

	.section .note.GNU-stack, "", @progbits
