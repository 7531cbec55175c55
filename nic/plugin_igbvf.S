/*
 * The plugin's image inside this one (plugin_image.h).
 */
	.section .rodata
	.balign 16
	.globl igbvf_plugin_image, igbvf_plugin_len
igbvf_plugin_image:
	.incbin PLUGIN
image_end:
	.balign 4
igbvf_plugin_len:
	.long image_end - igbvf_plugin_image

	.section .note.GNU-stack, "", @progbits
