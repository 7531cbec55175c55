/* nestling.elf as bytes inside the EFI loader (PAYLOAD: its path, from the Makefile). */
	.section .rodata
	.balign 4096
	.globl efi_payload, efi_payload_end
efi_payload:
	.incbin PAYLOAD
efi_payload_end:
